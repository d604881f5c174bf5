// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The attestation token that a guest shows: `bailey-guest: token <hexadecimal digits>`, line by line.

use token_verifier::{CHALLENGE_BYTES, verify};

/// What a token has to answer.
pub(crate) type Challenge = [u8; CHALLENGE_BYTES];

/// A token as it comes in.
#[derive(Debug, Default)]
pub(crate) struct ShownToken {
    digits: String,
}

impl ShownToken {
    /// Takes the digits of one line.
    pub(crate) fn take(&mut self, digits: &str) {
        self.digits.push_str(digits.trim());
    }

    /// Returns why this is no token that answers `challenge`, if it is none.
    pub(crate) fn judge(&self, challenge: &Challenge) -> Option<String> {
        let Some(token) = bytes(&self.digits) else {
            return Some("the guest shows a token that is no row of bytes".to_string());
        };
        match verify(&token) {
            Err(flaw) => Some(format!("the guest's token is not good: {flaw}")),
            Ok(claims) if claims.challenge != challenge => {
                Some("the guest's token answers another challenge".to_string())
            }
            Ok(_) => None,
        }
    }
}

/// Writes bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads hexadecimal digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let is_whole = rest.is_empty();
    pairs
        .iter()
        .map(|pair| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        })
        .collect::<Option<Vec<u8>>>()
        .filter(|_| is_whole)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A token that Linux got as a Realm under TF-A's test platform, and the challenge it had.
    const FILE: &str = include_str!("token.hex");
    const CHALLENGE: &str = "3488efe2c1d499a96a4157402794a848af2bee086d7bb86ae4f74aa987e01897\
                             eafd4f09433723a6bda281b36d4f06a5d7067bb85a794961f041c94fb893d9ad";

    /// Returns the lines of a token as they are shown, and its challenge.
    pub(in crate::run) fn example() -> (Vec<&'static str>, Challenge) {
        let lines = FILE.lines().filter(|line| !line.starts_with('#'));
        (lines.collect(), challenge())
    }

    fn challenge() -> Challenge {
        bytes(CHALLENGE).unwrap().try_into().unwrap()
    }

    fn judge(lines: &[&str], challenge: &Challenge) -> Option<String> {
        let mut token = ShownToken::default();
        lines.iter().for_each(|line| token.take(line));
        token.judge(challenge)
    }

    #[test]
    fn judge_a_good_token() {
        let (lines, challenge) = example();
        assert_eq!(judge(&lines, &challenge), None);
    }

    #[test]
    fn judge_bad_tokens() {
        let (lines, challenge) = example();
        let mut other = challenge;
        other[63] ^= 1;
        assert!(judge(&lines, &other).unwrap().contains("challenge"));
        assert!(judge(&[], &challenge).is_some());
        assert!(judge(&["d9018"], &challenge).unwrap().contains("bytes"));
        assert!(judge(&["xy"], &challenge).unwrap().contains("bytes"));
        // A line is missing, or there twice.
        let (last, rest) = lines.split_last().unwrap();
        assert!(judge(rest, &challenge).is_some());
        assert!(judge(&lines[1..], &challenge).is_some());
        assert!(judge(&[&lines[..], &[last]].concat(), &challenge).is_some());
    }

    #[test]
    fn hex_is_read_back() {
        assert_eq!(hex(&[0, 0xAB, 0x7F]), "00ab7f");
        assert_eq!(bytes("00ab7F"), Some(vec![0, 0xAB, 0x7F]));
    }
}
