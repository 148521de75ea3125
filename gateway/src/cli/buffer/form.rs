//! What an exported record looks like.
//!
//! In: records. Out: lines of JSON, the bare data, or comma-separated values. Invariant: in `jsonl` and `csv` a record is told whole:
//! data that is not JSON (or not text) is there in base64, and which of both it is can be seen.

use crate::route::is_json;
use crate::route::time::Utc;
use base64_simd::STANDARD;
use headwater_journal::RecordRef;
use std::io::{self, Write};

/// The forms of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// One JSON object a line. Data that is JSON stands in `data`, other data in `data_base64`.
    Jsonl,
    /// The data alone, each followed by a line feed.
    Raw,
    /// Comma-separated values with a heading: stream, shard, sequence, time, key, encoding (text or base64), data.
    Csv,
}

/// Where records go.
pub(super) struct Sheet<W: Write> {
    out: W,
    form: Form,
    stream: String,
    shard: String,
    line: Vec<u8>,
}

impl Form {
    pub(super) fn extension(self) -> &'static str {
        match self {
            Form::Jsonl => "jsonl",
            Form::Raw => "raw",
            Form::Csv => "csv",
        }
    }
}

impl<W: Write> Sheet<W> {
    pub(super) fn new(out: W, form: Form, stream: &str) -> io::Result<Self> {
        let mut sheet = Self { out, form, stream: stream.into(), shard: String::new(), line: Vec::new() };
        if form == Form::Csv {
            sheet.out.write_all(b"stream,shard,sequence,time,key,encoding,data\r\n")?;
        }
        Ok(sheet)
    }

    /// What follows is of this shard.
    pub(super) fn shard(&mut self, shard: u32) {
        self.shard = format!("shardId-{shard:012}");
    }

    pub(super) fn record(&mut self, sequence: &str, record: &RecordRef<'_>) -> io::Result<()> {
        self.line.clear();
        match self.form {
            Form::Jsonl => self.json(sequence, record)?,
            Form::Raw => {
                self.line.extend_from_slice(record.data);
                self.line.push(b'\n');
            }
            Form::Csv => self.csv(sequence, record)?,
        }
        self.out.write_all(&self.line)
    }

    /// Gives back where it went, with everything written.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn json(&mut self, sequence: &str, record: &RecordRef<'_>) -> io::Result<()> {
        let line = &mut self.line;
        let time = Utc(record.time_ms);
        write!(
            line,
            "{{\"stream\":\"{}\",\"shard\":\"{}\",\"sequence\":\"{sequence}\"",
            self.stream, self.shard
        )?;
        write!(line, ",\"time\":\"{time}\",\"time_ms\":{}", record.time_ms)?;
        match std::str::from_utf8(record.key) {
            Ok(key) => {
                line.extend_from_slice(b",\"key\":");
                serde_json::to_writer(&mut *line, key)?;
            }
            Err(_) => write!(line, ",\"key_base64\":\"{}\"", STANDARD.encode_to_string(record.key))?,
        }
        if is_json(record.data) {
            line.extend_from_slice(b",\"data\":");
            on_one_line(record.data, line);
        } else {
            write!(line, ",\"data_base64\":\"{}\"", STANDARD.encode_to_string(record.data))?;
        }
        line.extend_from_slice(b"}\n");
        Ok(())
    }

    fn csv(&mut self, sequence: &str, record: &RecordRef<'_>) -> io::Result<()> {
        let line = &mut self.line;
        write!(line, "{},{},{sequence},{},", self.stream, self.shard, Utc(record.time_ms))?;
        match (std::str::from_utf8(record.key), std::str::from_utf8(record.data)) {
            (Ok(key), Ok(data)) => {
                quoted(key, line);
                line.extend_from_slice(b",text,");
                quoted(data, line);
            }
            (key, _) => {
                quoted(key.unwrap_or(&String::from_utf8_lossy(record.key)), line);
                write!(line, ",base64,{}", STANDARD.encode_to_string(record.data))?;
            }
        }
        line.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// JSON with the white space between its parts left out where it would break the line. Numbers and names stay as they were written.
fn on_one_line(json: &[u8], out: &mut Vec<u8>) {
    if !json.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return out.extend_from_slice(json);
    }
    let (mut inside, mut escaped) = (false, false);
    for &byte in json {
        if !inside && byte.is_ascii_whitespace() {
            continue;
        }
        inside ^= byte == b'"' && !escaped;
        escaped = inside && byte == b'\\' && !escaped;
        out.push(byte);
    }
}

/// A field as RFC 4180 has it.
fn quoted(text: &str, out: &mut Vec<u8>) {
    if !text.contains([',', '"', '\n', '\r']) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form, key: &[u8], data: &[u8]) -> String {
        let mut sheet = Sheet::new(Vec::new(), form, "s").unwrap();
        sheet.shard(3);
        sheet.record("42", &RecordRef { sequence: 7, time_ms: 0, key, data }).unwrap();
        String::from_utf8(sheet.finish().unwrap()).unwrap()
    }

    #[test]
    fn json_stays_as_it_was_on_one_line_and_the_rest_is_base64() {
        let begin = "{\"stream\":\"s\",\"shard\":\"shardId-000000000003\",\"sequence\":\"42\",\"time\":\"1970-01-01T00:00:00.000Z\",\"time_ms\":0";
        for (data, expected) in [
            (&b"{\"a\": 1.50}"[..], "\"data\":{\"a\": 1.50}"),
            (b"{\n \"a b\\\"\\\\\" :\r\n [1 , 2]\n}", "\"data\":{\"a b\\\"\\\\\":[1,2]}"),
            (b"{\"a\":", "\"data_base64\":\"eyJhIjo=\""),
            (b"\"\xff\"", "\"data_base64\":\"Iv8i\""),
            (b"", "\"data_base64\":\"\""),
        ] {
            assert_eq!(
                written(Form::Jsonl, b"k\"", data),
                format!("{begin},\"key\":\"k\\\"\",{expected}}}\n")
            );
        }
        assert!(written(Form::Jsonl, b"\xff", b"1").contains("\"key_base64\":\"/w==\",\"data\":1}"));
    }

    #[test]
    fn values_are_quoted_where_a_comma_or_a_quote_would_part_them() {
        let row = written(Form::Csv, b"k", b"say \"a,b\"").lines().nth(1).map(str::to_owned);
        assert_eq!(
            row.unwrap(),
            "s,shardId-000000000003,42,1970-01-01T00:00:00.000Z,k,text,\"say \"\"a,b\"\"\""
        );
        assert!(written(Form::Csv, b"k", b"\xff").ends_with(",k,base64,/w==\r\n"));
        assert_eq!(written(Form::Raw, b"k", b"\x00x"), "\u{0}x\n");
    }
}
