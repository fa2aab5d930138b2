//! The page itself, as text. Pure; whatever a name holds stays text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::event::Outcome;
use crate::history::Run;
use crate::history::stats::{Stats, TargetStats, stats};
use crate::report::style::{count, duration};

const STYLE: &str = include_str!("page.css");
/// So many of the newest runs are drawn, and so many listed.
const DRAWN: usize = 100;
const LISTED: usize = 50;
/// Days that are drawn.
const DAYS: usize = 30;
/// So many bars fill the width; fewer are drawn no wider.
const FEW: usize = 20;
const LEGEND: &str = "<p><span class=\"good\">■</span> succeeded <span class=\"bad\">■</span> failed \
     <span class=\"cut\">■</span> interrupted</p>\n";
/// Height of a drawing, in its own units.
const HEIGHT: u64 = 100;

/// The page for `runs`, the oldest first.
pub fn html(name: &str, runs: &[Run], days: Option<u32>, now: Timestamp) -> String {
    let figures = stats(runs);
    let window = days.map_or_else(String::new, |days| {
        format!(", the last {}", count(days as usize, "day", "days"))
    });
    let name = text(name);
    let made = now.strftime("%Y-%m-%d %H:%M UTC");
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         <title>{name} · forge</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>{name}</h1>\n<p>{}{window} · made {made} by <code>forge dashboard</code></p>\n",
        count(runs.len(), "run", "runs"),
    );
    if runs.is_empty() {
        page += "<p>No runs yet.</p>\n";
    } else {
        page += &tiles(&figures);
        page += &durations(runs, &figures);
        page += &by_day(runs);
        page += &targets(&figures.targets);
        page += &listed(runs);
    }
    page + "</body>\n</html>\n"
}

fn tiles(figures: &Stats) -> String {
    let flaky = figures.targets.iter().filter(|one| one.flaky > 0).count();
    let tiles = [
        (percent(figures.success_rate), "of the runs succeeded"),
        (time(figures.median_ms), "for a run, at the median"),
        (time(figures.p95_ms), "for a slow one: the 95th percentile"),
        (
            figures.time_to_recovery_ms.map_or("–".to_owned(), time),
            "until what failed is mended, at the median",
        ),
        (time(figures.saved_ms), "of work saved by the cache"),
        (
            flaky.to_string(),
            if flaky == 1 {
                "flaky target"
            } else {
                "flaky targets"
            },
        ),
    ];
    let tile =
        |(value, what): (String, &str)| format!("<div class=\"tile\"><b>{value}</b>{what}</div>\n");
    let tiles: String = tiles.into_iter().map(tile).collect();
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

/// A bar for each run, as high as it took long. What is far beyond the others is cut.
fn durations(runs: &[Run], figures: &Stats) -> String {
    let newest = &runs[runs.len().saturating_sub(DRAWN)..];
    let most = figures.p95_ms.saturating_add(figures.p95_ms / 2).max(1);
    let mut bars = String::new();
    for (at, run) in newest.iter().enumerate() {
        let height = part(run.duration_ms.min(most), most).max(1);
        let title = format!(
            "{} · {} · {}",
            moment(run),
            time(run.duration_ms),
            words(run)
        );
        bars += &bar(at, HEIGHT - height, height, class(run), &title);
    }
    let longest = newest.iter().map(|run| run.duration_ms).max().unwrap_or(0);
    let cut = if longest > most { "more than " } else { "" };
    let scale = [
        newest.first().map_or_else(String::new, moment),
        format!("the highest: {cut}{}", time(longest.min(most))),
        newest.last().map_or_else(String::new, moment),
    ];
    drawing(
        &format!(
            "How long the last {} took",
            count(newest.len(), "run", "runs")
        ),
        newest.len(),
        &bars,
        &scale,
    ) + LEGEND
}

/// Runs of each day, those that failed on top.
fn by_day(runs: &[Run]) -> String {
    let mut days: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for run in runs {
        let Some(day) = run.when.get(..10) else {
            continue;
        };
        let (good, all) = days.entry(day).or_default();
        *good += u64::from(run.ok);
        *all += 1;
    }
    let newest: Vec<_> = days.iter().rev().take(DAYS).collect();
    let most = newest.iter().map(|(_, (_, all))| *all).max().unwrap_or(1);
    let mut bars = String::new();
    for (at, (day, (good, all))) in newest.iter().rev().enumerate() {
        let title = format!("{day} · {good} of {all} succeeded");
        let [good, all] = [good, all].map(|n| part(*n, most));
        bars += &bar(at, HEIGHT - all, all - good, "bad", &title);
        bars += &bar(at, HEIGHT - good, good, "good", &title);
    }
    let day =
        |day: Option<&(&&str, &(u64, u64))>| day.map_or_else(String::new, |it| (*it.0).to_owned());
    let scale = [
        day(newest.last()),
        format!("the highest: {}", count(most as usize, "run", "runs")),
        day(newest.first()),
    ];
    drawing("Runs by day", newest.len(), &bars, &scale)
}

/// Bars side by side, and below what stands at the left, what the height means, and what stands at the right.
fn drawing(title: &str, bars: usize, drawn: &str, scale: &[String; 3]) -> String {
    let scale: String = scale
        .iter()
        .map(|one| format!("<span>{}</span>", text(one)))
        .collect();
    // A few bars are bars still, not walls.
    let share = if bars < FEW { bars * 100 / FEW } else { 100 };
    format!(
        "<h2>{title}</h2>\n<div class=\"drawn\"><div style=\"width: {share}%\">\n\
         <svg viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\">\n{drawn}</svg>\n\
         <p class=\"scale\">{scale}</p>\n</div></div>\n",
        bars * 10
    )
}

/// How high it is drawn where `most` is as high as the drawing.
fn part(value: u64, most: u64) -> u64 {
    (u128::from(value) * u128::from(HEIGHT) / u128::from(most)) as u64
}

fn bar(at: usize, top: u64, height: u64, class: &str, title: &str) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{}\" y=\"{top}\" width=\"8\" height=\"{height}\"><title>{}</title></rect>\n",
        at * 10 + 1,
        text(title)
    )
}

/// Where the time goes, the most first.
fn targets(targets: &[TargetStats]) -> String {
    let total = |one: &TargetStats| one.average_ms.saturating_mul(one.runs as u64);
    let mut sorted: Vec<&TargetStats> = targets.iter().collect();
    sorted.sort_by_key(|one| std::cmp::Reverse(total(one)));
    let most = sorted.first().map_or(1, |one| total(one)).max(1);
    let mut rows = String::new();
    for one in sorted {
        let flaky = match one.flaky {
            0 => String::new(),
            flaky => format!(
                "<span class=\"cut\">{flaky} ({})</span>",
                percent(one.flakiness)
            ),
        };
        let failed = match one.failures {
            0 => String::new(),
            failures => format!("<span class=\"bad\">{failures}</span>"),
        };
        let _ = writeln!(
            rows,
            "<tr><td class=\"name\"><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{} <meter max=\"{most}\" value=\"{}\"></meter></td><td class=\"n\">{failed}</td>\
             <td class=\"n\">{flaky}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            text(&one.target),
            one.runs,
            time(one.average_ms),
            time(total(one)),
            total(one),
            one.restored,
            time(one.saved_ms),
        );
    }
    let head = "<th>target</th><th class=\"n\">runs</th><th class=\"n\">average</th><th class=\"n\">in all</th>\
         <th class=\"n\">failed</th><th class=\"n\">flaky</th><th class=\"n\">restored</th><th class=\"n\">saved</th>";
    table("Targets, by the time that they take", head, &rows)
}

fn listed(runs: &[Run]) -> String {
    let mut rows = String::new();
    for run in runs.iter().rev().take(LISTED) {
        let outcome = match class(run) {
            "good" => "✓",
            "cut" => "■",
            _ => "✗",
        };
        let _ = writeln!(
            rows,
            "<tr><td class=\"when\">{}</td><td class=\"{}\">{outcome}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"said\"><code>{}</code>{}</td><td>{}</td></tr>",
            text(&moment(run)),
            class(run),
            time(run.duration_ms),
            time(run.saved_ms),
            text(&words(run)),
            failures(run),
            text(&origin(run)),
        );
    }
    let head = "<th>when (UTC)</th><th></th><th class=\"n\">took</th><th class=\"n\">saved</th><th>command</th><th>of</th>";
    table("Newest runs", head, &rows)
}

fn table(title: &str, head: &str, rows: &str) -> String {
    format!(
        "<h2>{title}</h2>\n<div class=\"wide\"><table>\n<tr>{head}</tr>\n{rows}</table></div>\n"
    )
}

/// What failed, and why.
fn failures(run: &Run) -> String {
    let failed = run.targets.iter();
    let failed = failed.filter(|one| one.outcome == Outcome::Failed);
    failed
        .map(|one| format!("<br/>{}: {}", text(&one.target), text(&one.reason)))
        .collect()
}

fn class(run: &Run) -> &'static str {
    match (run.exit_code, run.ok) {
        (130, _) => "cut",
        (_, true) => "good",
        (_, false) => "bad",
    }
}

fn moment(run: &Run) -> String {
    run.when
        .chars()
        .take(16)
        .collect::<String>()
        .replace('T', " ")
}

fn words(run: &Run) -> String {
    let mut words = vec!["forge"];
    words.extend(run.command.iter().map(String::as_str));
    words.join(" ")
}

/// `main 1234567`
fn origin(run: &Run) -> String {
    let commit = run.commit.as_deref().unwrap_or_default();
    let commit: String = commit.chars().take(7).collect();
    format!("{} {commit}", run.branch.as_deref().unwrap_or_default())
}

fn time(ms: u64) -> String {
    duration(Duration::from_millis(ms))
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

/// As it reads, whatever it holds.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
