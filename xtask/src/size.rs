// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Sizes as people type them: `256M`, `1G`, `4096`.

/// Returns the number of bytes of a size with an optional suffix K, M or G (powers of 1024, either
/// case, an optional `iB` or `B` behind it).
///
/// # Errors
///
/// A sentence for the user when the text is not such a size.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(digits_end);
    let scale: u64 = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(format!("`{text}` is not a size such as 256M or 1G")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("`{text}` is not a size such as 256M or 1G"))?;
    number
        .checked_mul(scale)
        .ok_or_else(|| format!("`{text}` is more bytes than there are"))
}

/// Returns a size for people: the largest unit that divides it, else bytes with one decimal.
pub(crate) fn show(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    match bytes {
        0..=0x3ff => format!("{bytes} bytes"),
        0x400..=0xf_ffff => format!("{}.{} KiB", bytes >> 10, ((bytes & 0x3ff) * 10) >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_suffixes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64k", 0x1_0000),
            ("256M", 0x1000_0000),
            ("256MiB", 0x1000_0000),
            ("1g", 0x4000_0000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn parse_nonsense() {
        for text in [
            "",
            "M",
            "-1",
            "1T",
            "0x10",
            "1.5G",
            "99999999999999999999",
            "18446744073709551615K",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn show_units() {
        assert_eq!(show(12), "12 bytes");
        assert_eq!(show(0x1000_0000), "256 MiB");
        assert_eq!(show(0x600), "1.5 KiB");
        assert_eq!(show(41_795_520), "39.8 MiB");
    }
}
