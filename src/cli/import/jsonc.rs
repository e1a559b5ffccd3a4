//! JSON as editors write it: comments and trailing commas are blanked, so that places stay where they were.

/// Returns plain JSON of the same length in lines.
pub(super) fn plain(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    without_trailing_commas(&without_comments(text))
}

fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut in_string = false;
    while let Some(c) = chars.next() {
        match (in_string, c, chars.peek()) {
            (true, '\\', Some(_)) => {
                plain.push(c);
                plain.extend(chars.next());
            }
            (_, '"', _) => {
                in_string = !in_string;
                plain.push(c);
            }
            (false, '/', Some('/')) => while chars.next_if(|&c| c != '\n').is_some() {},
            (false, '/', Some('*')) => {
                chars.next();
                let mut before = ' ';
                for c in chars.by_ref() {
                    if c == '\n' {
                        plain.push('\n');
                    }
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
                plain.push(' ');
            }
            _ => plain.push(c),
        }
    }
    plain
}

fn without_trailing_commas(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        let (head, tail) = rest.split_at(c.len_utf8());
        rest = tail;
        match c {
            '\\' if in_string => {
                plain.push(c);
                let mut tail = rest.chars();
                plain.extend(tail.next());
                rest = tail.as_str();
            }
            ',' if !in_string && rest.trim_start().starts_with(['}', ']']) => plain.push(' '),
            _ => {
                in_string ^= c == '"';
                plain.push_str(head);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_go_and_strings_stay() {
        let text = r#"{ // a "comment", with quotes
            "url": "http://h//x", /* and, ] */ "b": "/* no */ // no,]",
            "c": [1, 2, ], "d": "quote \" // no", "e": "back\\", // yes
        }"#;
        let value: serde_json::Value = serde_json::from_str(&plain(text)).unwrap();
        assert_eq!(value["url"], "http://h//x");
        assert_eq!(value["b"], "/* no */ // no,]");
        assert_eq!(value["c"], serde_json::json!([1, 2]));
        assert_eq!(value["d"], "quote \" // no");
        assert_eq!(value["e"], "back\\");
    }

    #[test]
    fn lines_stay_where_they_were() {
        let error =
            serde_json::from_str::<serde_json::Value>(&plain("/* a\nb */\n// c\n{ \"a\": , }")).unwrap_err();
        assert_eq!(error.line(), 4);
    }
}
