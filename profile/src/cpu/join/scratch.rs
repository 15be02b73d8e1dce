//! Samples in a file: each a node and the time since the sample before it, as two LEB128 numbers. A sample takes about
//! 5 bytes.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Take, Write};

const BUFFER: usize = 16 << 10;

/// A node that was running, and the microseconds since the sample before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) node: u32,
    pub(super) delta: u64,
}

pub(super) struct Scratch<File> {
    file: File,
    /// What holds good samples.
    bytes: u64,
    samples: u64,
}

impl<File: Read + Write + Seek> Scratch<File> {
    pub(super) fn new(file: File) -> Self {
        Self { file, bytes: 0, samples: 0 }
    }

    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// Adds all of the samples, or after an error none.
    pub(super) fn append(&mut self, samples: impl Iterator<Item = Sample>) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.bytes))?;
        let (mut bytes, mut count) = (self.bytes, self.samples);
        let mut buffer = Vec::with_capacity(BUFFER);
        for sample in samples {
            put(&mut buffer, sample.node.into());
            put(&mut buffer, sample.delta);
            count += 1;
            if buffer.len() > BUFFER - 20 {
                self.file.write_all(&buffer)?;
                bytes += buffer.len() as u64;
                buffer.clear();
            }
        }
        self.file.write_all(&buffer)?;
        (self.bytes, self.samples) = (bytes + buffer.len() as u64, count);
        Ok(())
    }

    /// Reads all samples from the first one.
    pub(super) fn read(&mut self) -> io::Result<Reading<'_, File>> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(Reading { bytes: BufReader::new((&mut self.file).take(self.bytes)) })
    }
}

pub(super) struct Reading<'file, File> {
    bytes: BufReader<Take<&'file mut File>>,
}

impl<File: Read> Reading<'_, File> {
    /// The next sample. It is an error if there is none.
    pub(super) fn next(&mut self) -> io::Result<Sample> {
        let node = u32::try_from(self.number()?)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it isn't what was written"))?;
        Ok(Sample { node, delta: self.number()? })
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.bytes.read_exact(&mut byte)?;
            number |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        Ok(number)
    }
}

fn put(buffer: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buffer.push(0x80 | number.to_le_bytes()[0]);
        number >>= 7;
    }
    buffer.push(number.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn what_was_added_is_read_as_often_as_one_likes() {
        let samples: Vec<Sample> = [(0, 0), (127, 128), (128, 1 << 33), (u32::MAX, u64::MAX), (5, 10_000)]
            .map(|(node, delta)| Sample { node, delta })
            .into_iter()
            .cycle()
            .take(20_000)
            .collect();
        let mut scratch = Scratch::new(Cursor::new(Vec::new()));
        for chunk in samples.chunks(7000) {
            scratch.append(chunk.iter().copied()).unwrap();
        }
        assert_eq!(scratch.samples(), 20_000);
        for _ in 0..2 {
            let mut reading = scratch.read().unwrap();
            let read: Vec<Sample> = (0..20_000).map(|_| reading.next().unwrap()).collect();
            assert_eq!(read, samples);
            assert_eq!(reading.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
