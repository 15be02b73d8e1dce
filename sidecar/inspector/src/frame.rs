//! WebSocket frames (RFC 6455) as far as Node's inspector uses them.
//!
//! Node sends every message as one unfragmented, unmasked text frame, however large, and a Close frame at the
//! end. It drops the connection on anything but masked, unfragmented text frames, so this writes nothing else.

/// The longest header of a frame from the server: two bytes and a length of eight.
pub const LONGEST_HEADER: usize = 10;

const LENGTH_OF_16_BITS: u8 = 0x7e;
const LENGTH_OF_64_BITS: u8 = 0x7f;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole message.
    Text,
    /// The peer ends the connection.
    Close,
    /// Ping or Pong: skipped, and never answered, since Node drops the connection on a Pong.
    Heartbeat,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is for.
    pub kind: Kind,
    /// How many bytes of payload follow.
    pub length: u64,
}

/// A frame that Node never sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No extension was offered that would use them.
    #[error("reserved bits are set")]
    Reserved,
    /// A message in several frames.
    #[error("it is fragmented")]
    Fragmented,
    /// Only clients mask.
    #[error("it is masked")]
    Masked,
    /// Binary, or undefined.
    #[error("its opcode is {0}")]
    Opcode(u8),
    /// Control frames have at most 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// Not in the shortest form, or of 64 bits.
    #[error("its length is not encoded as the standard asks")]
    Length,
}

/// Reads the header that `input` begins with, and says how many bytes it has. `None`: more bytes are needed.
pub fn read_header(input: &[u8]) -> Result<Option<(Header, usize)>, FrameError> {
    let Some(&first) = input.first() else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::Reserved);
    }
    let (kind, control) = match first & 0x0f {
        0x0 => return Err(FrameError::Fragmented),
        0x1 => (Kind::Text, false),
        0x8 => (Kind::Close, true),
        0x9 | 0xa => (Kind::Heartbeat, true),
        opcode => return Err(FrameError::Opcode(opcode)),
    };
    if first & 0x80 == 0 {
        return Err(FrameError::Fragmented);
    }
    let Some(&second) = input.get(1) else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err(FrameError::Masked);
    }
    let short = second & 0x7f;
    if control && short > 125 {
        return Err(FrameError::LongControl);
    }
    let (length, size) = match short {
        LENGTH_OF_16_BITS => match input.get(2..4) {
            None => return Ok(None),
            Some(bytes) => (u64::from(u16::from_be_bytes(bytes.try_into().expect("two bytes"))), 4),
        },
        LENGTH_OF_64_BITS => match input.get(2..10) {
            None => return Ok(None),
            Some(bytes) => (u64::from_be_bytes(bytes.try_into().expect("eight bytes")), 10),
        },
        short => (u64::from(short), 2),
    };
    let shortest = match length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    if size != shortest || length > u64::MAX >> 1 {
        return Err(FrameError::Length);
    }
    Ok(Some((Header { kind, length }, size)))
}

/// Appends `text` to `output` as one text frame from a client.
///
/// The mask need not be secret here (no proxy lies between), but the standard and Node ask for one.
pub fn write_text(text: &str, mask: [u8; 4], output: &mut Vec<u8>) {
    let payload = text.as_bytes();
    output.push(0x81);
    match payload.len() {
        length @ 0..=125 => output.push(0x80 | u8::try_from(length).expect("at most 125")),
        length @ 126..=0xffff => {
            output.push(0x80 | LENGTH_OF_16_BITS);
            output.extend(u16::try_from(length).expect("at most 16 bits").to_be_bytes());
        }
        length => {
            output.push(0x80 | LENGTH_OF_64_BITS);
            output.extend((length as u64).to_be_bytes());
        }
    }
    output.extend(mask);
    output.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// How many bytes [`write_text`] appends for a text of `length` bytes.
pub(crate) fn written_size(length: usize) -> usize {
    length
        + match length {
            0..=125 => 6,
            126..=0xffff => 8,
            _ => 14,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_encoding_is_read_when_complete_and_awaited_before() {
        for (bytes, kind, length) in [
            (&[0x81, 0][..], Kind::Text, 0),
            (&[0x81, 125], Kind::Text, 125),
            (&[0x81, 126, 0, 126], Kind::Text, 126),
            (&[0x81, 126, 0xff, 0xff], Kind::Text, 65_535),
            (&[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0], Kind::Text, 65_536),
            (&[0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Kind::Text, u64::MAX >> 1),
            (&[0x88, 2], Kind::Close, 2),
            (&[0x89, 0], Kind::Heartbeat, 0),
            (&[0x8a, 125], Kind::Heartbeat, 125),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(read_header(&bytes[..cut]), Ok(None), "{bytes:?} cut at {cut}");
            }
            let followed = [bytes, b"payload"].concat();
            assert_eq!(read_header(&followed), Ok(Some((Header { kind, length }, bytes.len()))), "{bytes:?}");
        }
    }

    #[test]
    fn frames_that_node_never_sends_are_refused() {
        for (bytes, error) in [
            (&[0xc1, 0][..], FrameError::Reserved),
            (&[0x01], FrameError::Fragmented),
            (&[0x80], FrameError::Fragmented),
            (&[0x08, 0], FrameError::Fragmented),
            (&[0x81, 0x80], FrameError::Masked),
            (&[0x81, 0xfe, 0, 0], FrameError::Masked),
            (&[0x82], FrameError::Opcode(2)),
            (&[0x83], FrameError::Opcode(3)),
            (&[0x8b], FrameError::Opcode(11)),
            (&[0x88, 126], FrameError::LongControl),
            (&[0x89, 127], FrameError::LongControl),
            (&[0x81, 126, 0, 125], FrameError::Length),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], FrameError::Length),
            (&[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], FrameError::Length),
        ] {
            assert_eq!(read_header(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_written_is_a_masked_text_frame() {
        for length in [0, 1, 5, 125, 126, 127, 65_535, 65_536, 100_000] {
            let text: String = "inspector".chars().cycle().take(length).collect();
            let mut frame = Vec::new();
            write_text(&text, [1, 2, 3, 4], &mut frame);
            assert_eq!(frame.len(), written_size(length));
            assert_eq!(frame[0], 0x81);
            assert_eq!(frame[1] & 0x80, 0x80, "masked");
            frame[1] &= 0x7f;
            let (header, size) = read_header(&frame).unwrap().unwrap();
            assert_eq!(header, Header { kind: Kind::Text, length: length as u64 });
            assert_eq!(frame[size..size + 4], [1, 2, 3, 4]);
            let payload: Vec<u8> =
                frame[size + 4..].iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]).collect();
            assert_eq!(payload, text.as_bytes());
        }
    }
}
