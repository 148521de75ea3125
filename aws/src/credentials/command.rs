//! Credentials from a program, as `credential_process` names it.
//!
//! The line is split into words as a shell would, and no shell runs: nothing in it is expanded. The program gets the
//! environment of this process and no input. Its standard error is not kept: it may hold secrets.

use super::answer::parse;
use super::cache::Fetched;
use super::{SourceError, SourceErrorKind};
use crate::limits;
use std::process::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use zeroize::Zeroizing;

pub(super) async fn run(line: &str, source: &str) -> Result<Fetched, SourceError> {
    let error = |kind, reason: String| SourceError::new(source, kind, reason);
    let words = words(line).filter(|words| !words.is_empty());
    let words = words
        .ok_or_else(|| error(SourceErrorKind::Settings, "its line ends inside a quotation".to_owned()))?;
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|cause| error(SourceErrorKind::Settings, format!("cannot be started: {cause}")))?;
    let output = child.stdout.take().expect("it is piped");
    let ending = async {
        let text = read(output).await?;
        Ok::<_, std::io::Error>((text, child.wait().await?))
    };
    let ended = tokio::time::timeout(limits::COMMAND_TIMEOUT, ending).await;
    let ended = ended.map_err(|_| {
        let seconds = limits::COMMAND_TIMEOUT.as_secs();
        error(SourceErrorKind::Unreachable, format!("did not end within {seconds} s"))
    })?;
    let (text, status) =
        ended.map_err(|cause| error(SourceErrorKind::Unreachable, format!("cannot be read: {cause}")))?;
    if !status.success() {
        return Err(error(SourceErrorKind::Refused, format!("ended with {status}")));
    }
    if text.len() > limits::CREDENTIALS_BYTES_MAX {
        return Err(error(
            SourceErrorKind::Malformed,
            format!("wrote more than {} bytes", limits::CREDENTIALS_BYTES_MAX),
        ));
    }
    Ok(Fetched { credentials: parse(source, &text)?, time: None })
}

/// Up to the limit and one byte more; what follows is read and dropped, so that the program can end.
async fn read(mut output: impl AsyncRead + Unpin) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // All of it at once: growing would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(limits::CREDENTIALS_BYTES_MAX + 1));
    let mut rest = Zeroizing::new([0; 4_096]);
    loop {
        let count = output.read(&mut rest[..]).await?;
        if count == 0 {
            return Ok(text);
        }
        let room = limits::CREDENTIALS_BYTES_MAX + 1 - text.len();
        text.extend_from_slice(&rest[..count.min(room)]);
    }
}

/// Words of a line: blanks part them, quotation marks of both kinds keep them together, a backslash takes the next
/// character as it is (inside `"` only before `"` and itself). Nothing when a quotation does not end.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (' ' | '\t' | '\n', None) => words.extend(word.take()),
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (mark, Some(open)) if mark == open => quote = None,
            ('\\', None) => word.get_or_insert_default().push(letters.next()?),
            ('\\', Some('"')) if matches!(letters.peek(), Some('"' | '\\')) => {
                word.get_or_insert_default().extend(letters.next());
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_a_shell_splits_it() {
        let split = |line: &str| words(line).unwrap_or_default().join("|");
        assert_eq!(
            split(r#"/usr/a\ b  --x 'c d' "e \"f\" \n" g"h"i '' "#),
            r#"/usr/a b|--x|c d|e "f" \n|ghi|"#
        );
        assert_eq!(split("a $(b) `c` $D ~"), "a|$(b)|`c`|$D|~");
        assert_eq!((words("a 'b"), words("a \\"), words(" ")), (None, None, Some(vec![])));
    }
}
