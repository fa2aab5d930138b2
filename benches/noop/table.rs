//! Figures as a table, with what matters last: the ratios.

use crate::measure::Measured;

/// One line for each contender; a column of ratios for each that is a reference.
pub fn print(title: &str, measured: &[Measured]) {
    println!("\n{title}");
    let references: Vec<&Measured> = measured.iter().filter(|one| one.reference).collect();
    print!(
        "  {:<24}{:>10}{:>10}{:>9}{:>9}",
        "", "wall ms", "cpu ms", "MB", "calls"
    );
    references
        .iter()
        .for_each(|reference| print!("{:>16}", format!("× {}", reference.name)));
    println!();
    for one in measured {
        let millis = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
        print!(
            "  {:<24}{:>10.2}{:>10.2}{:>9.1}{:>9}",
            one.name,
            millis(one.taken.wall),
            millis(one.taken.cpu),
            one.taken.memory as f64 / 1024.0,
            one.calls
                .map_or_else(|| "-".into(), |calls| calls.to_string())
        );
        for reference in &references {
            let ratio = one.taken.wall.as_secs_f64() / reference.taken.wall.as_secs_f64();
            print!("{ratio:>16.2}");
        }
        println!();
    }
}
