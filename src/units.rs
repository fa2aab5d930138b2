//! How amounts are written for people, in events and on screens alike. Knows nothing of what they measure.

use std::time::Duration;

use jiff::Timestamp;

/// `0.04s`, `4.2s`, `1m 05s`, `2h 03m`.
pub fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 995 {
        return format!("{:.2}s", duration.as_secs_f64());
    }
    if ms < 59_950 {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    let seconds = (ms + 500) / 1000;
    if seconds < 3600 {
        return format!("{}m {:02}s", seconds / 60, seconds % 60);
    }
    let minutes = (seconds + 30) / 60;
    format!("{}h {:02}m", minutes / 60, minutes % 60)
}

/// `5m ago`; the minute itself when that is longer ago than a week, or in the future.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        86_400..604_800 => format!("{}d ago", seconds / 86_400),
        _ => then.strftime("%Y-%m-%d %H:%M").to_string(),
    }
}

/// `812 B`, `12.3 MB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            return if unit == "B" {
                format!("{value} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_people_say_them() {
        let table = [
            (0, "0.00s"),
            (42, "0.04s"),
            (994, "0.99s"),
            (996, "1.0s"),
            (4_200, "4.2s"),
            (59_940, "59.9s"),
            (59_960, "1m 00s"),
            (65_000, "1m 05s"),
            (3_599_700, "1h 00m"),
            (7_380_000, "2h 03m"),
            (93_600_000, "26h 00m"),
        ];
        for (ms, text) in table {
            assert_eq!(duration(Duration::from_millis(ms)), text, "{ms} ms");
        }
    }

    #[test]
    fn sizes_read_like_people_write_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (812, "812 B"),
            (1500, "1.5 kB"),
            (77_140_000_000, "77.1 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
