//! Gateways as text of `gateways.toml`.

use std::fmt::Write as _;
use std::path::Path;

use super::server::Block;

/// Returns the text of all blocks.
pub(super) fn text(blocks: &[Block], source: &Path) -> String {
    let mut text = String::new();
    if let Some(file) = source.file_name().filter(|file| *file != "-") {
        let _ = writeln!(
            text,
            "# From {}, by `toolgate import`.",
            one_line(&file.to_string_lossy())
        );
    }
    for (at, block) in blocks.iter().enumerate() {
        if at > 0 || !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "[gateways.{}]", block.name);
        for note in &block.notes {
            let _ = writeln!(text, "# {}", one_line(note));
        }
        for (key, value) in &block.keys {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text
}

/// Nothing that a file says may leave its comment.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
