//! Times of day as text (RFC 3339), to the millisecond, in UTC. Years are those of the proleptic Gregorian calendar.

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;
/// Days of 400 years.
const ERA_DAYS: u64 = 146_097;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Writes a time in milliseconds since 1970-01-01T00:00:00Z.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    let (hours, minutes) = (unix_ms / 3_600_000 % 24, unix_ms / 60_000 % 60);
    let (seconds, ms) = (unix_ms / 1_000 % 60, unix_ms % 1_000);
    let day = rfc3339_day(unix_ms / DAY_MS);
    format!("{day}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

/// Writes a day in days since 1970-01-01.
#[must_use]
pub fn rfc3339_day(unix_days: u64) -> String {
    // Years that begin in March end with the leap day, so that months have their days by a straight line.
    let days = unix_days + EPOCH_DAYS;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Reads a time, with `Z` or an offset, of 1970 or later; milliseconds since 1970-01-01T00:00:00Z, finer ones cut off.
#[must_use]
pub fn unix_ms_of(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| all)
    };
    let is = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|byte| marks.contains(byte));
    let marked = is(4, b"-") && is(7, b"-") && is(10, b"Tt") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hours, minutes, seconds) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let right = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    // 60 is a leap second.
    if !marked || !right || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let (ms, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, zone) = rest.split_at(end);
            let ms = format!("{digits:0<3}").get(..3)?.parse().ok()?;
            (if digits.is_empty() { return None } else { ms }, zone)
        }
    };
    let of_day = ((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms;
    let local = (days_until(year, month, day)? * DAY_MS + of_day).cast_signed();
    u64::try_from(local - offset_ms(zone)?).ok()
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days since 1970-01-01.
fn days_until(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + day_of_year;
    (year / 400 * ERA_DAYS + day_of_era).checked_sub(EPOCH_DAYS)
}

fn offset_ms(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let number = |digits: &str, below: i64| {
        let all = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|number| all && *number < below)
    };
    Some(sign * (number(hours, 24)? * 60 + number(minutes, 60)?) * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_795_179_723_042, "2026-11-20T13:02:03.042Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(unix_ms), text);
            assert_eq!(unix_ms_of(text), Some(unix_ms), "{text}");
        }
        for day in 0..200_000 {
            assert_eq!(
                unix_ms_of(&format!("{}T00:00:00Z", rfc3339_day(day))),
                Some(day * DAY_MS)
            );
        }
    }

    #[test]
    fn offsets_and_fractions_are_read() {
        for text in [
            "2026-11-20T13:02:03Z",
            "2026-11-20t13:02:03.0z",
            "2026-11-20T14:02:03.00099+01:00",
            "2026-11-20T04:32:03-08:30",
        ] {
            assert_eq!(unix_ms_of(text), Some(1_795_179_723_000), "{text}");
        }
        assert_eq!(unix_ms_of("1970-01-01T00:00:00.5Z"), Some(500));
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "2026-11-20",
            "2026-11-20T13:02:03",
            "2026-11-20 13:02:03Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T13:60:00Z",
            "2026-11-20T13:02:03.Z",
            "2026-11-20T13:02:03.5",
            "2026-11-20T13:02:03+0100",
            "2026-11-20T13:02:03+25:00",
            "+026-11-20T13:02:03Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2026-11-20T13:02:03Zx",
            "ääääääääääääääääääää",
        ] {
            assert_eq!(unix_ms_of(text), None, "{text}");
        }
    }
}
