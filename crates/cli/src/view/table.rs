//! Tables.

use crate::view::print::outln;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

/// Prints rows under a head, in columns without lines.
pub(crate) fn print(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(|cell| cell.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    let text: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().trim_start_matches(' ').to_owned())
        .collect();
    outln!("{}", text.join("\n"));
}
