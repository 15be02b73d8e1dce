//! The bytes of an artifact, whether compressed or not.

use std::io::{self, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Gives what `reader` holds, decompressed where it begins as gzip does.
pub(crate) fn open<'reader>(mut reader: impl Read + 'reader) -> io::Result<Box<dyn Read + 'reader>> {
    let mut magic = [0; 2];
    let mut read = 0;
    while read < magic.len() {
        match reader.read(&mut magic[read..]) {
            Ok(0) => break,
            Ok(size) => read += size,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let whole = Cursor::new(magic).take(read as u64).chain(reader);
    // A compressor that started anew, such as after a crash, wrote several members.
    Ok(if magic == GZIP { Box::new(MultiGzDecoder::new(BufReader::new(whole))) } else { Box::new(whole) })
}
