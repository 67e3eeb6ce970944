//! Binary messages where there is only text: `b` and base64.
//!
//! Pure. Always holds: what is written has padding and no line breaks; what is read may have neither or both.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};

/// Clients write base64 with padding; one without is as clear, and bits behind the last byte mean nothing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The bytes that base64 stands for. As RFC 2045 section 6.8 has it, characters outside of the alphabet are skipped: Java's client
/// ends each line, the last one too, with a line feed. The two characters of base64url are read as the reference server reads them.
/// `None`: a character is missing.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    if let Ok(bytes) = LENIENT.decode(text) {
        return Some(bytes);
    }
    let before_padding = text.bytes().take_while(|byte| *byte != b'=');
    let alphabet = before_padding.filter_map(|byte| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'+' | b'/' => Some(byte),
        _ => byte.is_ascii_alphanumeric().then_some(byte),
    });
    LENIENT.decode(alphabet.collect::<Vec<u8>>()).ok()
}

/// Appends a binary message as a text: `b` and base64.
pub(super) fn write_base64(message: &[u8], out: &mut Vec<u8>) {
    out.push(b'b');
    let start = out.len();
    // Four characters for every three bytes begun; the slice is exactly that long, so encoding cannot fail.
    out.resize(start + message.len().div_ceil(3) * 4, b'=');
    let _ = general_purpose::STANDARD.encode_slice(message, &mut out[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_mail_and_the_reference_server_read_it() {
        let lines = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4\nOTo7\n";
        assert_eq!(decode_base64(lines), Some((0..60).collect()), "as Java's client writes it");
        for (text, bytes) in [
            ("AQID\n", &[1, 2, 3][..]),
            ("AQ\r\nID", &[1, 2, 3]),
            ("AQ==\n", &[1]),
            ("AR", &[1]),
            ("-_8", &[0xfb, 0xff]),
            ("", &[]),
            ("!", &[]),
        ] {
            assert_eq!(decode_base64(text).as_deref(), Some(bytes), "{text:?}");
        }
        assert_eq!(decode_base64("AQIDB"), None);
    }
}
