//! The delta format of Fossil: what Centrifugo sends of an event that is like the one before.

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
/// More than any event has.
const MOST: usize = 1 << 20;

/// What `delta` makes of `base`; `None`: it is none of it. Its checksum is not looked at: the data are compared with what was published.
pub(crate) fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut rest = delta;
    let size = number(&mut rest)?;
    let mut out = Vec::with_capacity(size.min(MOST));
    if byte(&mut rest)? != b'\n' || size > MOST {
        return None;
    }
    loop {
        let length = number(&mut rest)?;
        let piece = match byte(&mut rest)? {
            b'@' => {
                let start = number(&mut rest)?;
                if byte(&mut rest)? != b',' {
                    return None;
                }
                base.get(start..start.checked_add(length)?)?
            }
            b':' => {
                let (piece, after) = rest.split_at_checked(length)?;
                rest = after;
                piece
            }
            b';' => return (out.len() == size).then_some(out),
            _ => return None,
        };
        if out.len() + piece.len() > size {
            return None;
        }
        out.extend_from_slice(piece);
    }
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0usize;
    while let Some(digit) = rest.first().and_then(|first| DIGITS.iter().position(|digit| digit == first)) {
        number = number.checked_mul(64)?.checked_add(digit)?;
        *rest = &rest[1..];
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_copied_and_inserted() {
        let base = b"{\"n\":1,\"same\":true}";
        assert_eq!(apply(base, b"J\n5@0,1:2D@6,0;").as_deref(), Some(&b"{\"n\":2,\"same\":true}"[..]));
        assert_eq!(apply(b"", b"3\n3:abc0;").as_deref(), Some(&b"abc"[..]));
        assert_eq!(number(&mut &b"1~x"[..]), Some(127 * 64 + 60));
        for wrong in [&b""[..], b"3", b"3\n", b"3\n3@I,0;", b"3\n3:ab", b"3\n2:ab0;", b"3\n3?abc0;", b"2\n3:abc0;"] {
            assert_eq!(apply(base, wrong), None, "{wrong:?}");
        }
    }
}
