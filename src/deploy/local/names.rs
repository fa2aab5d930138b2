//! What containers are called. A container's labels never change, its name does: so it is the name that says how far
//! a deployment has come, to us and to whoever types `docker ps -a`. The engine gives a name only once, and
//! that makes `.next` the lock of a service.
//!
//! Pure.

use std::fmt;

/// How far the deployment of a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `shop-dev-app`: completed, and what the service runs.
    Live,
    /// `….next`: going on.
    Next,
    /// `….trial`: the same on a port of its own, where `.next` has to wait for the published one.
    Trial,
    /// `….before`: a one-off task of it.
    Before,
    /// `….7`: completed, and replaced since.
    Past(u32),
    /// `….7.crashed`: didn't complete.
    Ended(u32, Why),
}

/// Why a deployment didn't complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Crashed,
    Unhealthy,
    /// `before`.
    Task,
    Smoke,
    Cancelled,
    /// The engine couldn't do something, or a part of the same deployment failed.
    Failed,
}

const WHYS: [(Why, &str, &str); 6] = [
    (Why::Crashed, "crashed", "its container crashed"),
    (Why::Unhealthy, "unhealthy", "it didn't get healthy"),
    (Why::Task, "before", "a task of `before` failed"),
    (Why::Smoke, "smoke", "its checks failed"),
    (Why::Cancelled, "cancelled", "it was cancelled"),
    (Why::Failed, "failed", "it was taken back"),
];

impl Why {
    fn word(self) -> &'static str {
        WHYS.iter()
            .find(|(why, ..)| *why == self)
            .map_or("", |(_, word, _)| word)
    }

    /// For people.
    pub fn text(self) -> &'static str {
        WHYS.iter()
            .find(|(why, ..)| *why == self)
            .map_or("", |(.., text)| text)
    }
}

impl Stage {
    /// Whether a container of that name has completed its deployment.
    pub fn completed(self) -> bool {
        matches!(self, Stage::Live | Stage::Past(_))
    }

    /// Whether its deployment is going on.
    pub fn is_going_on(self) -> bool {
        matches!(self, Stage::Next | Stage::Trial | Stage::Before)
    }
}

/// What the names of a service's containers begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// `shop-dev-app`
    pub fn new(pipeline: &str, environment: &str, service: &str) -> Base {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let all = [pipeline, environment, service].join("-");
        let all: String = all
            .chars()
            .map(|c| if allowed(c) { c } else { '-' })
            .collect();
        let all = all.trim_start_matches(['-', '_']);
        // The engine wants a letter or a digit first, and one more after it.
        Base(match all.len() {
            0 | 1 => format!("forge-{all}"),
            _ => all.to_owned(),
        })
    }

    pub fn name(&self, stage: Stage) -> String {
        let base = &self.0;
        match stage {
            Stage::Live => base.clone(),
            Stage::Next => format!("{base}.next"),
            Stage::Trial => format!("{base}.trial"),
            Stage::Before => format!("{base}.before"),
            Stage::Past(number) => format!("{base}.{number}"),
            Stage::Ended(number, why) => format!("{base}.{number}.{}", why.word()),
        }
    }

    /// `None`: a name that somebody else gave it.
    pub fn stage(&self, name: &str) -> Option<Stage> {
        let rest = name.strip_prefix(&self.0)?;
        if rest.is_empty() {
            return Some(Stage::Live);
        }
        match rest.strip_prefix('.')? {
            "next" => Some(Stage::Next),
            "trial" => Some(Stage::Trial),
            "before" => Some(Stage::Before),
            rest => match rest.split_once('.') {
                None => rest.parse().ok().map(Stage::Past),
                Some((number, word)) => {
                    let (why, ..) = WHYS.iter().find(|(_, known, _)| *known == word)?;
                    Some(Stage::Ended(number.parse().ok()?, *why))
                }
            },
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_were_written() {
        let base = Base::new("shop", "dev", "app");
        let mut stages = vec![
            Stage::Live,
            Stage::Next,
            Stage::Trial,
            Stage::Before,
            Stage::Past(7),
        ];
        stages.extend(WHYS.map(|(why, ..)| Stage::Ended(8, why)));
        for stage in stages {
            assert_eq!(base.stage(&base.name(stage)), Some(stage));
        }
        for other in [
            "shop-dev-app2",
            "shop-dev-app.x",
            "shop-dev-app.7.x",
            "shop-dev-app.x.smoke",
            "other",
        ] {
            assert_eq!(base.stage(other), None, "{other}");
        }
    }

    #[test]
    fn names_are_what_the_engine_allows() {
        for (parts, base) in [
            (["my shop", "dev", "a.b/c"], "my-shop-dev-a-b-c"),
            (["_x", "é", "y"], "x---y"),
            (["", "", ""], "forge-"),
        ] {
            let [pipeline, environment, service] = parts;
            let made = Base::new(pipeline, environment, service);
            assert_eq!(made.to_string(), base);
        }
    }
}
