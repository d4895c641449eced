//! Tables.

use crate::view::print::outln;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

/// Prints rows under a head, in columns without lines.
pub(crate) fn print(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let rows: Vec<_> = rows.into_iter().collect();
    outln!("{}", text(head, &rows, &[], None));
}

/// The same for a terminal: as many of the columns that can be done without are left out, the first
/// named first, as the table needs to fit. What goes into a file or a program is whole.
pub(crate) fn print_fitting(head: &[&str], rows: &[Vec<String>], spare: &[&str]) {
    outln!("{}", text(head, rows, spare, width()));
}

/// How wide output may be: COLUMNS, else the terminal's own width; `None` where output goes
/// elsewhere.
fn width() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|columns| columns.parse().ok());
    columns.or_else(|| Table::new().width().map(usize::from))
}

fn text(head: &[&str], rows: &[Vec<String>], spare: &[&str], width: Option<usize>) -> String {
    let mut spare = spare.iter();
    let mut left_out: Vec<&str> = Vec::new();
    loop {
        let kept = |index: &usize| !left_out.contains(&head[*index]);
        let columns: Vec<usize> = (0..head.len()).filter(kept).collect();
        let lines = lines(head, rows, &columns);
        let widest = lines.iter().map(|line| line.chars().count()).max();
        let fits = width.is_none_or(|width| widest.unwrap_or(0) <= width);
        match spare.next() {
            Some(column) if !fits => left_out.push(column),
            _ => return lines.join("\n"),
        }
    }
}

fn lines(head: &[&str], rows: &[Vec<String>], columns: &[usize]) -> Vec<String> {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| head[*column].to_uppercase()));
    for row in rows {
        let cell = |column: &usize| row.get(*column).cloned().unwrap_or_default();
        table.add_row(columns.iter().map(cell));
    }
    let lines = table.lines();
    lines
        .map(|line| line.trim_end().trim_start_matches(' ').to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_can_be_done_without_go_one_by_one_until_it_fits() {
        let head = ["member", "id", "term", "health"];
        let rows = [["m1", "7339dd5dcfaa64f", "2", "healthy, 1.2 ms"]
            .map(str::to_owned)
            .to_vec()];
        let at = |width| text(&head, &rows, &["term", "id"], width);
        assert_eq!(
            at(None).lines().next(),
            Some("MEMBER  ID               TERM  HEALTH")
        );
        assert_eq!(
            at(Some(45)).lines().next(),
            Some("MEMBER  ID               HEALTH")
        );
        assert_eq!(at(Some(30)).lines().next(), Some("MEMBER  HEALTH"));
        // What nobody can do without is never left out.
        assert_eq!(at(Some(5)), at(Some(30)));
    }
}
