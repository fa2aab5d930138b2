//! What forge costs where there is little or nothing to do, against a floor, ninja and make, in one interleaved run.
//!
//! `cargo bench --bench noop -- [SCENARIO…] [--size 100x20] [--rounds 15] [--beside FORGE]`; `--help` lists them. With
//! `--beside`, another build of forge takes part. Figures of
//! one run are only comparable with each other: machines and neighbours differ, ratios stay.

mod floor;
mod measure;
mod scenario;
mod table;
mod workspace;

use std::path::{Path, PathBuf};

use measure::Contender;
use workspace::Size;

/// What the command line asks for.
struct Asked {
    scenarios: Vec<&'static scenario::Scenario>,
    sizes: Vec<Size>,
    rounds: usize,
    /// Another forge.
    beside: Option<PathBuf>,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        // The programs that forge is measured against are this one, too.
        ["floor", root] => floor::list(Path::new(root)),
        ["floor-hash", root] => floor::hash(Path::new(root)),
        ["floor-copy", from, to] => floor::copy(Path::new(from), Path::new(to)),
        ["floor-nothing"] => {}
        words => match asked(words) {
            Some(asked) => run(&asked),
            None => usage(),
        },
    }
}

fn run(asked: &Asked) {
    for scenario in &asked.scenarios {
        let sizes: &[Size] = if scenario.sized {
            &asked.sizes
        } else {
            &[Size::SMALL]
        };
        for size in sizes {
            let directory = tempfile::tempdir().expect("a directory");
            let contenders = (scenario.prepare)(directory.path(), *size);
            let contenders = with_other(contenders, asked.beside.as_deref());
            let title = match scenario.sized {
                true => format!("{}: {} ({size})", scenario.name, scenario.about),
                false => format!("{}: {}", scenario.name, scenario.about),
            };
            let measured = measure::interleaved(&contenders, asked.rounds);
            table::print(&title, &measured);
        }
    }
}

/// Whoever is forge twice.
fn with_other(contenders: Vec<Contender>, other: Option<&Path>) -> Vec<Contender> {
    let Some(other) = other else {
        return contenders;
    };
    let twice = contenders.into_iter().flat_map(|one| {
        let is_forge = one.program == Path::new(scenario::FORGE);
        let beside = is_forge
            .then(|| one.with("  the other forge", other))
            .flatten();
        [Some(one), beside]
    });
    twice.flatten().collect()
}

fn asked(words: &[&str]) -> Option<Asked> {
    let mut asked = Asked {
        scenarios: Vec::new(),
        sizes: Vec::new(),
        rounds: 15,
        beside: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--bench" => {}
            "--rounds" => asked.rounds = words.next()?.parse().ok()?,
            "--beside" => asked.beside = Some(PathBuf::from(words.next()?)),
            "--size" => asked.sizes.push(Size::parse(words.next()?)?),
            name => asked.scenarios.push(scenario::named(name)?),
        }
    }
    if asked.scenarios.is_empty() {
        let all = scenario::ALL.iter();
        asked.scenarios = all.filter(|scenario| scenario.usual).collect();
    }
    if asked.sizes.is_empty() {
        asked.sizes = vec![Size::SMALL, Size::MIDDLE, Size::LARGE];
    }
    Some(asked)
}

fn usage() {
    println!(
        "cargo bench --bench noop -- [SCENARIO…] [--size PROJECTSxFILES]… [--rounds N] [--beside FORGE]\n"
    );
    for scenario in scenario::ALL {
        println!("  {:<10}{}", scenario.name, scenario.about);
    }
}
