//! How far a push or a pull is, of all its layers: one line out of what the engine says of each.
//!
//! Knows nothing of images and registries.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::models::ProgressDetail;

use crate::units;

/// Lines don't follow each other faster than this, unless a layer got done.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Default)]
pub struct Layers {
    /// How many there are, and how many of them are where they belong.
    all: usize,
    done: usize,
    /// Bytes that went, and bytes in all, of each that moves.
    moving: HashMap<String, (u64, u64)>,
    told: Option<Instant>,
}

impl Layers {
    /// Takes in what the engine says of a layer; a line where there is something new to say. Of a push the engine
    /// doesn't say which layer it means: there it is known by its size.
    pub fn hear(
        &mut self,
        layer: Option<&str>,
        status: &str,
        detail: Option<&ProgressDetail>,
    ) -> Option<String> {
        match status {
            "Preparing" | "Pulling fs layer" => self.all += 1,
            "Already exists" => {
                self.all += 1;
                self.done += 1;
            }
            "Pushed" | "Layer already exists" | "Pull complete" => self.done += 1,
            "Pushing" | "Downloading" => self.moves(layer, detail)?,
            mounted if mounted.starts_with("Mounted from") => self.done += 1,
            _ => return None,
        }
        let moves = matches!(status, "Pushing" | "Downloading");
        if moves && self.told.is_some_and(|told| told.elapsed() < PAUSE) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(self.line())
    }

    fn moves(&mut self, layer: Option<&str>, detail: Option<&ProgressDetail>) -> Option<()> {
        let bytes = |count: Option<i64>| u64::try_from(count?).ok();
        let total = bytes(detail?.total)?;
        let current = bytes(detail?.current)?.min(total);
        let layer = layer.map_or_else(|| total.to_string(), str::to_owned);
        self.moving.insert(layer, (current, total));
        Some(())
    }

    fn line(&self) -> String {
        let layers = format!("{} of {} layers", self.done.min(self.all), self.all);
        let sum = |part: fn(&(u64, u64)) -> u64| self.moving.values().map(part).sum::<u64>();
        match sum(|moved| moved.1) {
            0 => layers,
            total => {
                let moved = units::size(sum(|moved| moved.0));
                format!("{layers}, {moved} of {}", units::size(total))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(current: i64, total: i64) -> ProgressDetail {
        ProgressDetail {
            current: Some(current),
            total: Some(total),
        }
    }

    #[test]
    fn a_push_is_told_by_its_layers_and_bytes() {
        let mut layers = Layers::default();
        assert_eq!(layers.hear(None, "The push refers to x", None), None);
        for count in 1..=3 {
            let line = layers.hear(None, "Preparing", None);
            assert_eq!(line.unwrap(), format!("0 of {count} layers"));
        }
        assert_eq!(layers.hear(None, "Waiting", None), None);
        let line = layers.hear(None, "Layer already exists", None);
        assert_eq!(line.unwrap(), "1 of 3 layers");
        layers.hear(None, "Pushing", Some(&at(500_000, 2_000_000)));
        layers.hear(None, "Pushing", Some(&at(1_000_000, 2_000_000)));
        layers.hear(None, "Pushing", Some(&at(9_000_000, 4_000_000)));
        let line = layers.hear(None, "Pushed", None);
        assert_eq!(line.unwrap(), "2 of 3 layers, 5.0 MB of 6.0 MB");
    }

    #[test]
    fn a_pull_is_told_by_its_layers() {
        let mut layers = Layers::default();
        layers.hear(Some("a"), "Already exists", None);
        layers.hear(Some("b"), "Pulling fs layer", None);
        layers.hear(Some("b"), "Downloading", Some(&at(10, 1000)));
        assert_eq!(layers.hear(Some("b"), "Extracting", Some(&at(1, 9))), None);
        let line = layers.hear(Some("b"), "Pull complete", None);
        assert_eq!(line.unwrap(), "2 of 2 layers, 10 B of 1.0 kB");
    }

    #[test]
    fn what_comes_fast_is_told_once() {
        let mut layers = Layers::default();
        layers.hear(None, "Preparing", None);
        let told = (1..1000).filter_map(|n| layers.hear(None, "Pushing", Some(&at(n, 1000))));
        assert!(told.count() < 500);
    }
}
