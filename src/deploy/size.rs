//! The sizes that tasks can have: what ECS reads as CPU units and MiB, and which pairs Fargate offers.
//! Pure.

use super::error::DeployError;

/// CPU units, and the least, the most and the step of the memory that goes with them, in MiB.
const FARGATE: &[(u32, u32, u32, u32)] = &[
    (256, 512, 2048, 512),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];

/// `256`, `".25 vCPU"` or `"0.25 vcpu"` in CPU units.
pub fn cpu(text: &str) -> Option<u32> {
    amount(text, "vcpu")
}

/// `512`, `"0.5 GB"` or `"1gb"` in MiB.
pub fn memory(text: &str) -> Option<u32> {
    amount(text, "gb")
}

/// Both units are 1024 of what a bare number counts.
fn amount(text: &str, unit: &str) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    let Some(number) = text.strip_suffix(unit) else {
        return text.parse().ok();
    };
    let units = number.trim().parse::<f64>().ok()? * 1024.0;
    let whole = (0.0..=f64::from(u32::MAX)).contains(&units) && units.fract() == 0.0;
    whole.then_some(units as u32)
}

/// Refuses a pair that Fargate doesn't offer. More CPU than this version knows of is left to ECS to judge.
///
/// # Errors
/// A size is left out, or the two don't go together.
pub fn check_fargate(cpu: Option<u32>, memory: Option<u32>) -> Result<(), DeployError> {
    let (Some(cpu), Some(memory)) = (cpu, memory) else {
        return Err(DeployError::wrong(
            "a Fargate task needs `cpu` and `memory`",
            "for example: cpu = 256, memory = 512",
        ));
    };
    let Some((_, least, most, step)) = FARGATE.iter().find(|(units, ..)| *units == cpu) else {
        if FARGATE.last().is_some_and(|(most, ..)| cpu > *most) {
            return Ok(());
        }
        let units: Vec<String> = FARGATE.iter().map(|(cpu, ..)| cpu.to_string()).collect();
        return Err(DeployError::wrong(
            format!("Fargate has no tasks with cpu = {cpu}"),
            format!("it has {}", units.join(", ")),
        ));
    };
    // The smallest has 512, 1024 and 2048, but not 1536.
    let odd = cpu == 256 && memory == 1536;
    if (*least..=*most).contains(&memory) && memory.is_multiple_of(*step) && !odd {
        return Ok(());
    }
    let offered = match cpu {
        256 => "512, 1024 or 2048 MiB".to_owned(),
        _ => format!("{least} to {most} MiB in steps of {step}"),
    };
    Err(DeployError::wrong(
        format!("Fargate has no tasks with cpu = {cpu} and memory = {memory}"),
        format!("with cpu = {cpu} it has {offered}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_either_unit() {
        for (text, units) in [
            ("256", Some(256)),
            (" 1024 ", Some(1024)),
            (".25 vCPU", Some(256)),
            ("0.25vcpu", Some(256)),
            ("4 vCPU", Some(4096)),
            ("1.5 GB", None),
            ("", None),
            ("-1 vCPU", None),
            ("0.0001 vCPU", None),
        ] {
            assert_eq!(cpu(text), units, "{text}");
        }
        assert_eq!(memory("0.5 GB"), Some(512));
        assert_eq!(memory("3gb"), Some(3072));
        assert_eq!(memory("3072"), Some(3072));
    }

    #[test]
    fn fargate_has_these_pairs_and_no_others() {
        let fine = |cpu, memory| check_fargate(Some(cpu), Some(memory)).is_ok();
        for (cpu, memory) in [
            (256, 512),
            (256, 1024),
            (256, 2048),
            (512, 1024),
            (512, 4096),
            (1024, 8192),
            (2048, 4096),
            (4096, 30_720),
            (8192, 20_480),
            (16_384, 122_880),
            (32_768, 1),
        ] {
            assert!(fine(cpu, memory), "{cpu} {memory}");
        }
        for (cpu, memory) in [
            (256, 1536),
            (256, 4096),
            (256, 0),
            (512, 512),
            (512, 1536),
            (1024, 1024),
            (4096, 31_744),
            (8192, 17_408),
            (300, 512),
            (0, 512),
        ] {
            assert!(!fine(cpu, memory), "{cpu} {memory}");
        }
        assert!(check_fargate(None, Some(512)).is_err());
        assert!(check_fargate(Some(256), None).is_err());
    }
}
