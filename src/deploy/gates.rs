//! What a deployment has to pass before anything is changed. Pure: the moment is given.

use globset::Glob;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::pipeline::model::FreezeWindow;

use super::error::DeployError;
use super::seen::{DeploymentView, Rollout, ServiceView};

/// A gate, and whether it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    pub name: Name,
    pub open: bool,
    /// One line: why it is open, or why not.
    pub why: String,
    /// How to get through; empty for an open one.
    pub help: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Account,
    Branch,
    Freeze,
    /// Another deployment is going on.
    Free,
    Approval,
}

impl Name {
    pub fn text(self) -> &'static str {
        match self {
            Name::Account => "account",
            Name::Branch => "branch",
            Name::Freeze => "freeze",
            Name::Free => "lock",
            Name::Approval => "approval",
        }
    }
}

impl Gate {
    pub fn open(name: Name, why: impl Into<String>) -> Gate {
        Gate {
            name,
            open: true,
            why: why.into(),
            help: String::new(),
        }
    }

    pub fn shut(name: Name, why: impl Into<String>, help: impl Into<String>) -> Gate {
        Gate {
            name,
            open: false,
            why: why.into(),
            help: help.into(),
        }
    }
}

/// The caller's account is the one that the environment names.
pub fn account(expected: Option<&str>, actual: &str) -> Gate {
    match expected {
        None => Gate::open(Name::Account, format!("{actual} (any)")),
        Some(expected) if expected == actual => Gate::open(Name::Account, actual),
        Some(expected) => Gate::shut(
            Name::Account,
            format!(
                "the credentials are of the account {actual}, the environment is in {expected}"
            ),
            "take credentials of that account: AWS_PROFILE, or `profile` or `assume-role` in the environment",
        ),
    }
}

/// The branch is one of those that may be deployed.
pub fn branch(globs: &[String], branch: Option<&str>) -> Gate {
    let allowed = globs.join(", ");
    match branch {
        _ if globs.is_empty() => Gate::open(Name::Branch, "any"),
        None => Gate::shut(
            Name::Branch,
            format!("no branch is checked out; allowed: {allowed}"),
            "check out a branch, or in CI set what names it",
        ),
        Some(branch) if globs.iter().any(|glob| matches(glob, branch)) => {
            Gate::open(Name::Branch, branch)
        }
        Some(branch) => Gate::shut(
            Name::Branch,
            format!("`{branch}` isn't deployed here; allowed: {allowed}"),
            "deploy from an allowed branch",
        ),
    }
}

/// Patterns were checked when the file was read; one that isn't any matches nothing.
fn matches(glob: &str, branch: &str) -> bool {
    Glob::new(glob).is_ok_and(|glob| glob.compile_matcher().is_match(branch))
}

/// No freeze is on, or there is a reason to go through it.
pub fn freeze(
    windows: &[FreezeWindow],
    timezone: Option<&str>,
    now: Timestamp,
    hotfix: Option<&str>,
) -> Gate {
    if windows.is_empty() {
        return Gate::open(Name::Freeze, "none declared");
    }
    let name = timezone.unwrap_or("UTC");
    let Ok(zone) = TimeZone::get(name) else {
        return Gate::shut(
            Name::Freeze,
            format!("this machine doesn't know the time zone {name}"),
            "install the time zone database (tzdata), or give --hotfix \"reason\"",
        );
    };
    let now = now.to_zoned(zone);
    let Some((window, until)) = windows
        .iter()
        .find_map(|one| Some((one, frozen(one, &now)?)))
    else {
        return Gate::open(Name::Freeze, format!("not now ({name})"));
    };
    let until = until.strftime("%a %d %b %H:%M");
    match hotfix.map(str::trim).filter(|reason| !reason.is_empty()) {
        Some(reason) => Gate::open(
            Name::Freeze,
            format!("{} is on, hotfix: {reason}", window.text),
        ),
        None => Gate::shut(
            Name::Freeze,
            format!("{} is on, until {until} ({name})", window.text),
            "wait, or give --hotfix \"reason\"",
        ),
    }
}

/// The end of the window where `now` lies in it. Both are read off the wall: in the night when the clocks
/// change, "02:30" is when a clock there shows it.
pub fn frozen(window: &FreezeWindow, now: &Zoned) -> Option<Zoned> {
    const WEEK: u32 = 7 * 24 * 60;
    let day = now.weekday().to_monday_zero_offset().unsigned_abs();
    let minute = u32::from(day) * 24 * 60
        + u32::from(now.hour().unsigned_abs()) * 60
        + u32::from(now.minute().unsigned_abs());
    let since = (minute + WEEK - window.from) % WEEK;
    let length = (window.to + WEEK - window.from) % WEEK;
    if since >= length {
        return None;
    }
    let left = i64::from(length - since);
    let start = now.datetime().with().second(0).subsec_nanosecond(0);
    let start = start.build().ok()?;
    let end = start.checked_add(left.minutes()).ok()?;
    end.to_zoned(now.time_zone().clone()).ok()
}

/// How the plan was agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Not at all.
    None,
    /// `--approve`: whatever the plan is.
    Any,
    /// `--approve ID`, or the answer of somebody who saw that plan.
    Of(String),
}

/// Somebody agreed to this plan, and to no other.
pub fn approval(required: bool, given: &Approval, plan: &str) -> Gate {
    match given {
        Approval::Of(id) if id != plan => Gate::shut(
            Name::Approval,
            format!("what was approved is the plan {id}; now it is {plan}"),
            "look at the plan again (-n), then --approve it",
        ),
        Approval::Of(_) => Gate::open(Name::Approval, format!("the plan {plan}")),
        Approval::Any => Gate::open(Name::Approval, "any plan"),
        Approval::None if required => Gate::shut(
            Name::Approval,
            "nobody has approved this plan",
            format!("--approve {plan}"),
        ),
        Approval::None => Gate::open(Name::Approval, "not needed"),
    }
}

/// No other deployment of the service is going on.
pub fn free(environment: &str, service: &ServiceView, takeover: bool) -> Gate {
    let going = |one: &&DeploymentView| one.rollout == Rollout::InProgress;
    match service.deployments.iter().find(going) {
        None => Gate::open(
            Name::Free,
            format!("nothing is going on in {}", service.name),
        ),
        Some(other) if takeover => Gate::open(
            Name::Free,
            format!("takes over from {} in {}", other.id, service.name),
        ),
        Some(other) => Gate::shut(
            Name::Free,
            format!(
                "another deployment is going on in {}: {} since {}",
                service.name,
                other.id,
                other.created.strftime("%H:%M:%SZ")
            ),
            format!(
                "wait for it (`forge status {environment}`), take it back (`forge cancel {environment}`), or deploy over it (--takeover)"
            ),
        ),
    }
}

/// What a service runs is still what the plan was made upon: the ids of its deployments then and now.
///
/// # Errors
/// Somebody else deployed.
pub fn unchanged(service: &str, then: &str, now: &str) -> Result<(), DeployError> {
    if then == now {
        return Ok(());
    }
    let now = if now.is_empty() {
        "nothing is left there"
    } else {
        now
    };
    Err(DeployError::refused(
        format!("somebody else deployed to {service} meanwhile: {now}"),
        "look at the plan again (-n)",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: u32, to: u32) -> FreezeWindow {
        FreezeWindow {
            text: "the window".into(),
            from,
            to,
        }
    }

    const DAY: u32 = 24 * 60;

    /// `Fri 16:00..Mon 08:00`
    fn weekend() -> FreezeWindow {
        window(4 * DAY + 16 * 60, 8 * 60)
    }

    fn until(window: &FreezeWindow, now: &str) -> Option<String> {
        let now: Zoned = now.parse().unwrap();
        frozen(window, &now).map(|end| end.to_string())
    }

    #[test]
    fn a_window_over_the_weeks_end() {
        let zone = "[America/New_York]";
        for (now, end) in [
            ("2026-01-09T15:59:59", None), // Friday
            ("2026-01-09T16:00:00", Some("2026-01-12T08:00:00-05:00")),
            ("2026-01-11T12:34:56.789", Some("2026-01-12T08:00:00-05:00")),
            ("2026-01-12T07:59:59.999", Some("2026-01-12T08:00:00-05:00")),
            ("2026-01-12T08:00:00", None),
            ("2026-01-14T12:00:00", None),
        ] {
            let end = end.map(|end| format!("{end}{zone}"));
            assert_eq!(until(&weekend(), &format!("{now}{zone}")), end, "{now}");
        }
    }

    #[test]
    fn the_wall_clock_counts_when_clocks_change() {
        // In New York 2026-03-08 has no 02:00..03:00, 2026-11-01 has 01:00..02:00 twice. Both are Sundays.
        let sunday = 6 * DAY;
        let zone = "[America/New_York]";
        let early = window(sunday + 60, sunday + 3 * 60);
        for (now, end) in [
            ("2026-03-08T00:59:00-05:00", None),
            (
                "2026-03-08T01:59:00-05:00",
                Some("2026-03-08T03:00:00-04:00"),
            ),
            ("2026-03-08T03:00:00-04:00", None),
            (
                "2026-11-01T01:30:00-04:00",
                Some("2026-11-01T03:00:00-05:00"),
            ),
            (
                "2026-11-01T01:30:00-05:00",
                Some("2026-11-01T03:00:00-05:00"),
            ),
            ("2026-11-01T03:00:00-05:00", None),
        ] {
            let end = end.map(|end| format!("{end}{zone}"));
            assert_eq!(until(&early, &format!("{now}{zone}")), end, "{now}");
        }
        // The weekend is an hour shorter, and still ends at eight.
        assert_eq!(
            until(&weekend(), "2026-03-07T12:00:00-05:00[America/New_York]").as_deref(),
            Some("2026-03-09T08:00:00-04:00[America/New_York]")
        );
    }

    #[test]
    fn a_freeze_is_read_in_its_zone_and_needs_a_reason() {
        let windows = [weekend()];
        // Friday 20:30 UTC is Friday 15:30 in New York and Saturday in Tokyo.
        let now: Timestamp = "2026-01-09T20:30:00Z".parse().unwrap();
        let open = |zone, hotfix| freeze(&windows, zone, now, hotfix).open;
        assert!(open(Some("America/New_York"), None));
        assert!(!open(Some("Asia/Tokyo"), None));
        assert!(!open(None, None));
        assert!(!open(None, Some("  ")));
        assert!(open(None, Some("login is down")));
        assert!(!open(Some("Mars/Olympus"), Some("x")));
        assert!(freeze(&[], Some("Mars/Olympus"), now, None).open);
        let shut = freeze(&windows, None, now, None);
        assert_eq!(shut.why, "the window is on, until Mon 12 Jan 08:00 (UTC)");
        assert!(shut.help.contains("--hotfix"));
    }

    #[test]
    fn branches_match_by_glob() {
        let globs = ["main".to_owned(), "release/*".to_owned()];
        assert!(branch(&globs, Some("main")).open);
        assert!(branch(&globs, Some("release/1.2")).open);
        assert!(!branch(&globs, Some("mainline")).open);
        assert!(!branch(&globs, None).open);
        assert!(branch(&[], None).open);
    }

    #[test]
    fn accounts_must_be_the_same() {
        assert!(account(None, "1").open);
        assert!(account(Some("1"), "1").open);
        let shut = account(Some("2"), "1");
        assert!(!shut.open && shut.why.contains('1') && shut.why.contains('2'));
    }

    #[test]
    fn an_approval_is_of_one_plan() {
        use Approval::{Any, None, Of};
        for (required, given, open) in [
            (true, None, false),
            (true, Any, true),
            (true, Of("abc".into()), true),
            (true, Of("abd".into()), false),
            (false, None, true),
            // Who approves another plan is told, needed or not.
            (false, Of("abd".into()), false),
        ] {
            assert_eq!(approval(required, &given, "abc").open, open, "{given:?}");
        }
        assert_eq!(approval(true, &None, "abc").help, "--approve abc");
    }

    #[test]
    fn a_deployment_under_way_shuts_the_gate() {
        let deployment = |id: &str, rollout| DeploymentView {
            id: id.into(),
            primary: true,
            rollout,
            reason: String::new(),
            task_definition: String::new(),
            desired: 1,
            running: 0,
            pending: 1,
            failed: 0,
            created: "2026-01-09T20:30:00Z".parse().unwrap(),
        };
        let service = |rollout| ServiceView {
            name: "app".into(),
            deployments: vec![deployment("ecs-svc/1", rollout)],
            ..ServiceView::default()
        };
        let shut = free("prod", &service(Rollout::InProgress), false);
        assert!(!shut.open && shut.why.contains("ecs-svc/1"));
        assert!(free("prod", &service(Rollout::InProgress), true).open);
        assert!(free("prod", &service(Rollout::Completed), false).open);
        assert!(free("prod", &service(Rollout::Failed), false).open);
    }
}
