//! What stands on the screen when a deployment is over: everything once, the reason last, and what to do now.

use crate::aws::ecs::behavior::Behavior;
use crate::bed::Bed;
use crate::mould::digest;
use crate::pty::Terminal;

/// One whose new image crashes.
fn crashes() -> Bed {
    let bed = Bed::new("");
    let crash = Behavior::exits(3).says(&["no database"]);
    bed.aws.ecs(|ecs| ecs.image_behaves(&digest("one"), crash));
    bed
}

/// One whose new image doesn't come up.
fn hangs() -> Bed {
    let bed = Bed::new("");
    let slow = Behavior::runs().slow(1e6);
    bed.aws.ecs(|ecs| ecs.image_behaves(&digest("one"), slow));
    bed
}

/// What a screen shows, as words.
fn words(shown: &str) -> String {
    let plain = console::strip_ansi_codes(shown).into_owned();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_shown_isnt_said_again() {
    let bed = crashes();
    let terminal = Terminal::start(bed.command(&["deploy"]), 100, 50);
    let (code, shown) = terminal.wait();
    assert_eq!(code, Some(5), "{shown}");
    let words = words(&shown);
    for (text, times) in [
        ("app: registered app:2", 1),
        ("app: app:2 goes out as ecs-svc/", 1),
        ("| no database", 2),
        ("help: what ran before runs again", 1),
    ] {
        assert_eq!(words.matches(text).count(), times, "{text}\n{shown}");
    }
    let hale = Bed::new("");
    // Nor of one that did well, where the output of targets is shown at their end.
    for env in [None, Some(("GITHUB_ACTIONS", "true"))] {
        let mut command = hale.command(&["deploy", "-v", "--force"]);
        command.envs(env);
        let ran = hale.ws.run(command);
        ran.code(0);
        let steps = ran.stdout.matches(" goes out as ecs-svc/").count();
        assert_eq!(steps, 1, "{}", ran.stdout);
    }
    // Who saw nothing of it gets it all at the end.
    let bed = crashes();
    let ran = bed.forge(&["deploy", "-q"]);
    ran.code(5);
    for text in ["app: registered app:2", "| no database"] {
        assert_eq!(ran.stdout.matches(text).count(), 1, "{}", ran.stdout);
    }
}

#[test]
fn what_isnt_rolled_back_says_where_to_look() {
    Bed::new("smoke = [{ run = \"false\" }]\non-failure = \"stop\"")
        .forge(&["deploy"])
        .code(6)
        .says("forge doesn't go back if it fails")
        .says_not("goes back to app:1")
        .says("help: look at it: forge status production")
        .says("forge rollback production")
        .says("forge cancel production");
}

#[test]
fn what_goes_on_is_said_whole_on_a_narrow_screen() {
    for args in [&["deploy"][..], &["deploy", "-q"]] {
        let bed = hangs();
        let mut terminal = Terminal::start(bed.command(args), 50, 50);
        crate::run::wait_until("the update", || bed.updates() == 1);
        terminal.press("\x03");
        let (code, shown) = terminal.wait();
        assert_eq!(code, Some(130), "{shown}");
        let end = format!(
            "the deployment {} of app goes on: `forge status production` tells of it, \
             `forge cancel production` takes it back",
            bed.deployment("app")
        );
        assert!(words(&shown).contains(&end), "{args:?}\n{shown}");
    }
}

#[test]
fn a_row_says_what_a_deployment_does() {
    let bed = Bed::new("before = [\"./migrate\"]");
    bed.aws.ecs(|ecs| {
        let slow = Behavior::exits(0).after(100.0);
        ecs.behave(|run| !run.command.is_empty(), slow);
    });
    let terminal = Terminal::start(bed.command(&["deploy"]), 100, 50);
    terminal.wait_for("deploy · before: ./migrate");
    let (code, shown) = terminal.wait();
    assert_eq!(code, Some(0), "{shown}");
}

#[test]
fn who_rolled_back_learns_what_brings_it_back() {
    let bed = Bed::new("");
    bed.deploy("one");
    bed.settle("app");
    bed.forge(&["rollback", "production", "--yes"])
        .code(0)
        .says("the next deployment brings app:2 back, unless its commit is reverted");
}
