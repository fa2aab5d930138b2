//! `forge dashboard`: the history on one page that needs nothing else, whatever the names in it.

mod support;

use support::Bed;

const PIPELINE: &str = "[pipeline]\nname = \"a <b> & \\\"c\\\"\"\nvars = { x = \"\" }\n\
     [target.unit]\ncache = false\ninputs = []\nretries = 1\nrun = \"test -e second || { touch second; exit 1; }\"\n\
     [target.build]\ninputs = [\"in\"]\noutputs = [\"out\"]\nrun = \"cp in out\"\n\
     [target.fail]\ninputs = []\nrun = \"exit 7\"\n";

fn bed() -> Bed {
    let bed = Bed::new(PIPELINE);
    bed.write("in", "1\n");
    assert_eq!(bed.plain(&["unit", "build"]).code, 0);
    assert_eq!(
        bed.plain(&["fail", "--var", "x=<script>alert(1)</script>"])
            .code,
        1
    );
    bed.remove("out");
    assert_eq!(bed.plain(&["build"]).code, 0);
    bed
}

/// Every tag is closed, in order: what a browser would have to guess is a mistake.
#[track_caller]
fn well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let (_, html) = html.split_once("<!DOCTYPE html>").expect("a page");
    for piece in html.split('<').skip(1) {
        let (tag, after) = piece.split_once('>').expect("a tag's end");
        assert!(!after.contains('>') || tag == "style", "{piece}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().expect("a name"));
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_says_what_ran_and_needs_nothing() {
    let bed = bed();
    let ran = bed.plain(&["dashboard"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("wrote "), "{ran:?}");
    let html = bed.read(".forge/dashboard.html");
    well_formed(&html);
    for said in [
        "a &lt;b&gt; &amp; &quot;c&quot;",
        "<b>67 %</b>of the runs succeeded",
        "<b>1</b>flaky target<",
        "1 (100 %)",
        "until what failed is mended",
        "<span>the highest: 3 runs</span>",
        "fail: exit code 7",
        "x=&lt;script&gt;alert(1)&lt;/script&gt;",
        "default-src 'none'",
    ] {
        assert!(html.contains(said), "no {said} in\n{html}");
    }
    assert_eq!(
        html.matches("<rect class=\"good\"").count(),
        2 + 1,
        "{html}"
    );
    for absent in ["<script", "src=", "href=", "http://", "https://", "url("] {
        assert!(!html.contains(absent), "{absent} in\n{html}");
    }
}

#[test]
fn it_goes_where_it_is_told() {
    let bed = bed();
    let would = bed.plain(&["dashboard", "-n"]);
    assert!(would.stdout.starts_with("would write "), "{would:?}");
    assert!(!bed.exists(".forge/dashboard.html"));

    assert_eq!(bed.plain(&["dashboard", "--out", "page.html"]).code, 0);
    well_formed(&bed.read("page.html"));
    let printed = bed.plain(&["dashboard", "--out", "-", "--days", "1"]);
    well_formed(&printed.stdout);
    assert!(
        printed.stdout.contains("3 runs, the last 1 day"),
        "{printed:?}"
    );

    let nowhere = bed.plain(&["dashboard", "--out", "none/page.html"]);
    assert_ne!(nowhere.code, 0);
    assert!(
        nowhere.stderr.contains("none/page.html can't be written"),
        "{nowhere:?}"
    );
}

#[test]
fn without_a_run_nothing_is_made() {
    let bed = Bed::new(PIPELINE);
    let ran = bed.plain(&["dashboard"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "no runs yet\n"),
        "{ran:?}"
    );
    assert!(!bed.exists(".forge"));
    let printed = bed.plain(&["dashboard", "--out", "-"]);
    well_formed(&printed.stdout);
    assert!(printed.stdout.contains("No runs yet."), "{printed:?}");
}

/// A record of another machine may say anything, and a clock that was set while a target ran too.
#[test]
fn times_beyond_all_measure_are_drawn_too() {
    let bed = bed();
    let history = bed.read(".forge/history.jsonl");
    let lines = history.lines().map(|line| {
        let mut run: serde_json::Value = serde_json::from_str(line).expect("a run");
        run["duration-ms"] = u64::MAX.into();
        for target in run["targets"].as_array_mut().expect("an array") {
            target["duration-ms"] = u64::MAX.into();
        }
        format!("{run}\n")
    });
    bed.write(".forge/history.jsonl", lines.collect::<String>());
    for command in ["dashboard", "stats", "history"] {
        let ran = bed.plain(&[command]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let html = bed.read(".forge/dashboard.html");
    well_formed(&html);
    // All three are as high as the drawing, and none is higher.
    let whole = html.matches("y=\"0\" width=\"8\" height=\"100\"");
    assert_eq!(whole.count(), 3, "{html}");
}
