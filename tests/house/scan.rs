//! As much of Rust's lexical grammar as it takes to tell code from what is written in it.

/// Returns the text with comments, strings and characters blanked; lines stay where they are.
pub(crate) fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_other(bytes, at);
        if end > at {
            let blanked = bytes[at..end]
                .iter()
                .map(|byte| if *byte == b'\n' { '\n' } else { ' ' });
            code.extend(blanked);
            at = end;
        } else {
            code.push(if bytes[at].is_ascii() {
                char::from(bytes[at])
            } else {
                ' '
            });
            at += 1;
        }
    }
    code
}

/// Returns where the comment, string or character ends that starts at `at`; `at` itself when there is none.
fn end_of_other(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let in_name = at > 0 && is_name(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => end_of_block_comment(bytes, at),
        [b'"', ..] => end_of_string(bytes, at + 1),
        [b'r', b'"' | b'#', ..] if !in_name => end_of_raw_string(bytes, at + 1).unwrap_or(at),
        [b'b', b'r', b'"' | b'#', ..] if !in_name => end_of_raw_string(bytes, at + 2).unwrap_or(at),
        [b'\'', b'\\', ..] => {
            let from = at + 3;
            from + bytes[from..].iter().position(|byte| *byte == b'\'').unwrap_or(0) + 1
        }
        // Otherwise it is a lifetime.
        [b'\'', ..] => {
            let width = std::str::from_utf8(&rest[1..])
                .ok()
                .and_then(|rest| rest.chars().next())
                .map_or(1, char::len_utf8);
            if rest.get(1 + width) == Some(&b'\'') {
                at + width + 2
            } else {
                at
            }
        }
        _ => at,
    }
}

fn end_of_block_comment(bytes: &[u8], at: usize) -> usize {
    let (mut open, mut end) = (0, at);
    while end < bytes.len() {
        match &bytes[end..] {
            [b'/', b'*', ..] => (open, end) = (open + 1, end + 2),
            [b'*', b'/', ..] => (open, end) = (open - 1, end + 2),
            _ => end += 1,
        }
        if open == 0 {
            break;
        }
    }
    end
}

fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut end = from;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 2,
            b'"' => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// `from` is behind the `r`. `None`: it is a raw name, such as `r#type`.
fn end_of_raw_string(bytes: &[u8], from: usize) -> Option<usize> {
    let hashes = bytes[from..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(from + hashes) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"')
        .chain(std::iter::repeat_n(b'#', hashes))
        .collect();
    let body = from + hashes + 1;
    let found = bytes[body..].windows(close.len()).position(|part| part == close);
    Some(found.map_or(bytes.len(), |found| body + found + close.len()))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The names and signs of code, with the line of each. `::` is one sign.
pub(crate) fn tokens(code: &str) -> Vec<(usize, &str)> {
    let bytes = code.as_bytes();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        let length = match bytes[at] {
            byte if is_name(byte) => bytes[at..].iter().take_while(|byte| is_name(**byte)).count(),
            b':' if bytes.get(at + 1) == Some(&b':') => 2,
            _ => 1,
        };
        if bytes[at] == b'\n' {
            line += 1;
        } else if !bytes[at].is_ascii_whitespace() {
            found.push((line, &code[at..at + length]));
        }
        at += length;
    }
    found
}
