//! Strings with a shape of their own: durations, sizes, version requirements, ports, freeze windows.
//! Each function says in its error what was expected.
//!
//! Knows nothing of TOML, spans or sections.

use std::time::Duration;

use super::glob;
use super::model::{FreezeWindow, Port};

/// `"10m"`, `"1h30m"`, `"500ms"`: more than nothing.
pub fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as `\"90s\"`, `\"10m\"` or `\"1h30m\"`";
    const POSITIVE: &str = "must be more than nothing";
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(EXPECTED.into());
    }
    if rest.starts_with('-') {
        return Err(POSITIVE.into());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(EXPECTED)?;
        let number: u64 = rest[..digits].parse().map_err(|_| EXPECTED)?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let milliseconds = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(EXPECTED.into()),
        };
        let part = number.checked_mul(milliseconds).ok_or(EXPECTED)?;
        total = total
            .checked_add(Duration::from_millis(part))
            .ok_or(EXPECTED)?;
        rest = rest[letters..].trim_start();
    }
    match total.is_zero() {
        true => Err(POSITIVE.into()),
        false => Ok(total),
    }
}

/// `"10GB"`, `"512MiB"`: bytes.
pub fn size(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a size such as `\"10GB\"` or `\"512MB\"`";
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(EXPECTED)?;
    let number: u64 = text[..digits].parse().map_err(|_| EXPECTED)?;
    let unit: u64 = match text[digits..].trim_start().to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "tb" | "t" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(EXPECTED.into()),
    };
    match number.checked_mul(unit) {
        None | Some(0) => Err(EXPECTED.into()),
        Some(bytes) => Ok(bytes),
    }
}

/// As in Cargo, but for a bare `3.11`, which means 3.11.x.
pub fn version(text: &str) -> Result<semver::VersionReq, String> {
    let text = text.trim();
    let bare = text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(['*', ',', 'x']);
    let requirement = if bare {
        format!("={text}")
    } else {
        text.to_owned()
    };
    let expected = "expected a version such as `\"3.11\"`, `\">=1.4\"` or `\"*\"`";
    semver::VersionReq::parse(&requirement).map_err(|_| expected.into())
}

/// A port's number.
pub fn port_number(number: i64) -> Result<u16, String> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| "expected a port from 1 to 65535".into())
}

/// `"5432:5432"`, the outer one first; `"5432"`: any free one outside.
pub fn port(text: &str) -> Result<Port, String> {
    const EXPECTED: &str = "expected `\"OUTSIDE:INSIDE\"` such as `\"5432:5432\"`, or a port alone";
    let number = |text: &str| -> Result<u16, String> {
        port_number(text.trim().parse().map_err(|_| EXPECTED.to_owned())?)
    };
    match text.split_once(':') {
        Some((outside, inside)) => Ok(Port {
            inside: number(inside)?,
            outside: Some(number(outside)?),
        }),
        None => Ok(Port {
            inside: number(text)?,
            outside: None,
        }),
    }
}

/// `"company/app"`, as registries name repositories: without the registry, and without a tag.
pub fn repository(text: &str) -> Result<(), String> {
    const EXPECTED: &str = "expected small letters and digits; `.`, `_`, `-` and `/` between them";
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let words = part.split(allowed).filter(|between| !between.is_empty());
        let between =
            |text: &str| matches!(text, "." | "_" | "__") || text.chars().all(|c| c == '-');
        part.starts_with(allowed) && part.ends_with(allowed) && words.into_iter().all(between)
    };
    match text.len() < 256 && text.split('/').all(part) {
        true => Ok(()),
        false => Err(EXPECTED.into()),
    }
}

/// `"v1.2"`, as registries name what is in a repository.
pub fn tag(text: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-';
    match (1..=128).contains(&text.len())
        && text.chars().all(allowed)
        && !text.starts_with(['.', '-'])
    {
        true => Ok(()),
        false => Err("expected letters, digits, `_`, `.` and `-`; no `.` or `-` first".into()),
    }
}

/// `"Fri 16:00..Mon 08:00"`.
pub fn freeze(text: &str) -> Result<FreezeWindow, String> {
    const EXPECTED: &str = "expected a window such as `\"Fri 16:00..Mon 08:00\"`";
    let (from, to) = text.split_once("..").ok_or(EXPECTED)?;
    let from = moment(from).ok_or(EXPECTED)?;
    let to = moment(to).ok_or(EXPECTED)?;
    if from == to {
        return Err("the window ends where it begins".into());
    }
    Ok(FreezeWindow {
        text: text.to_owned(),
        from,
        to,
    })
}

/// `Fri 16:00` in minutes since Monday 00:00.
fn moment(text: &str) -> Option<u32> {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    const NAMES: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let (day, time) = text.trim().split_once(char::is_whitespace)?;
    let day = day.to_ascii_lowercase();
    let day = DAYS
        .iter()
        .zip(NAMES)
        .position(|(short, long)| day == *short || day == long)?;
    let (hour, minute) = time.trim().split_once(':')?;
    let hour: u32 = hour.parse().ok().filter(|hour| *hour < 24)?;
    let minute: u32 = minute.parse().ok().filter(|minute| *minute < 60)?;
    Some(u32::try_from(day).ok()? * 24 * 60 + hour * 60 + minute)
}

/// An IANA name that the machine's time zone database has. Without a database any plausible name goes.
pub fn timezone(text: &str) -> Result<(), String> {
    const EXPECTED: &str = "expected an IANA time zone such as `\"Europe/Berlin\"`";
    if text.is_empty() {
        return Err(EXPECTED.into());
    }
    let known = jiff::tz::TimeZone::get(text).is_ok();
    let unchecked = || jiff::tz::db().available().next().is_none();
    match known || unchecked() {
        true => Ok(()),
        false => Err(EXPECTED.into()),
    }
}

/// The syntax of a glob; nothing is compiled.
pub fn glob(pattern: &str) -> Result<(), String> {
    // Nothing else can be wrong with one, and most have none of these.
    if !pattern.contains(['[', ']', '{', '}', '\\']) {
        return Ok(());
    }
    if glob::has_too_many(pattern) {
        return Err(format!("its braces stand for more than {}", glob::MOST));
    }
    globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map(drop)
        .map_err(|error| error.kind().to_string())
}

/// Whether a pattern has glob characters at all.
pub fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_registries_read_them() {
        for good in ["app", "company/app", "a.b__c--d/e_1", "library/redis", "0"] {
            assert_eq!(repository(good), Ok(()), "{good}");
        }
        for bad in [
            "", "App", "a//b", "/a", "a/", "a:1", "a._b", "a___b", "-a", "a b", "é", "a@sha256",
        ] {
            assert!(repository(bad).is_err(), "{bad}");
        }
        assert!(repository(&"a".repeat(256)).is_err());
        for good in ["latest", "v1.2_3-x", "_", "A"] {
            assert_eq!(tag(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "a b", "a:b"] {
            assert!(tag(bad).is_err(), "{bad}");
        }
        assert!(tag(&"a".repeat(129)).is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in [
            "",
            "10",
            "m",
            "-5s",
            "0s",
            "1x",
            "99999999999999999999s",
            "18446744073709551615d",
            "1.5h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("10GB"), Ok(10_000_000_000));
        assert_eq!(size("1 MiB"), Ok(1_048_576));
        for bad in ["", "10", "GB", "-1GB", "0MB", "1XB", "99999999999TB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bare_version_fixes_what_it_names() {
        let matches = |req: &str, version: &str| {
            version_of(req).matches(&semver::Version::parse(version).unwrap())
        };
        assert!(matches("3.11", "3.11.9"));
        assert!(!matches("3.11", "3.12.0"));
        assert!(matches("3", "3.12.0"));
        assert!(!matches("1.2.3", "1.2.4"));
        assert!(matches(">=1.4", "2.0.0"));
        assert!(matches("^1.4", "1.9.0"));
        assert!(matches("*", "9.9.9"));
        assert!(matches("3.*", "3.9.9"));
        assert!(version("latest").is_err());
    }

    fn version_of(text: &str) -> semver::VersionReq {
        version(text).unwrap()
    }

    #[test]
    fn ports_and_windows() {
        let both = port("5433:5432").unwrap();
        assert_eq!((both.outside, both.inside), (Some(5433), 5432));
        assert_eq!(port("80").unwrap().outside, None);
        for bad in ["", "a", "0", "70000", "1:2:3", ":", "1:"] {
            assert!(port(bad).is_err(), "{bad}");
        }
        let window = freeze("Fri 16:00..Mon 08:00").unwrap();
        assert_eq!((window.from, window.to), (4 * 1440 + 960, 480));
        assert!(freeze("friday 16:00..monday 8:00").is_ok());
        for bad in [
            "",
            "Fri",
            "Fri 16:00",
            "Fri 24:00..Sat 00:00",
            "Fri 1:00..Fri 1:00",
        ] {
            assert!(freeze(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn time_zones_and_globs() {
        assert!(timezone("Europe/Berlin").is_ok());
        assert!(timezone("").is_err());
        assert!(glob("src/**/*.rs").is_ok());
        assert!(glob("src/[a").is_err());
        assert!(is_glob("a*") && !is_glob("a/b.rs"));
    }
}
