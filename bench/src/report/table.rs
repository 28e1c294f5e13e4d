//! A case's results as a table.

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::figures::{Figure, Metric, Results, Row};
use crate::report::machine::Setting;
use crate::stats::Spread;

/// The table of a case, with what a reader must know below it.
pub fn table(results: &Results) -> String {
    let mut metrics: Vec<Metric> = results
        .rows
        .iter()
        .flat_map(|row| row.figures.iter().map(|figure| figure.metric))
        .collect();
    metrics.sort();
    metrics.dedup();
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let base = results.base.as_deref();
    let mut titles = vec!["server".to_owned()];
    for metric in &metrics {
        titles.push(metric.title().to_owned());
        if compares(*metric, base) {
            titles.push("×".to_owned());
        }
    }
    titles.extend(["generator".to_owned(), "checked".to_owned()]);
    table.set_header(titles);
    for row in &results.rows {
        let mut cells = vec![Cell::new(&row.server)];
        for metric in &metrics {
            let figure = row.figure(*metric);
            cells
                .push(right(figure.map_or_else(String::new, |figure| number(figure.value.median))));
            if compares(*metric, base) {
                cells.push(right(figure.and_then(ratio).unwrap_or_default()));
            }
        }
        cells.push(right(format!("{:.0} %", row.generator_busy * 100.0)));
        cells.push(Cell::new(checked(row)));
        table.add_row(cells);
    }
    let base = results
        .base
        .as_ref()
        .map_or_else(String::new, |base| format!(", × = ratio to {base} [quartiles]"));
    let mut text = format!(
        "\n{}: {}\nmedians of {} rounds of {} s{base}\n{table}\n",
        results.case, results.question, results.rounds, results.slice_seconds
    );
    for missing in &results.missing {
        text.push_str(&format!("not measured: {missing}\n"));
    }
    for row in &results.rows {
        row.notes.iter().for_each(|note| text.push_str(&format!("{}: {note}\n", row.server)));
    }
    text
}

fn compares(metric: Metric, base: Option<&str>) -> bool {
    base.is_some() && metric.compares()
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Three significant digits, as far as they matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e5 => format!("{:.0} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn ratio(figure: &Figure) -> Option<String> {
    let Spread { median, low, high } = figure.ratio?;
    Some(format!("{median:.2} [{low:.2} {high:.2}]"))
}

/// What became of the messages.
fn checked(row: &Row) -> String {
    let faults = row.faults;
    if faults.none() {
        return "ok".to_owned();
    }
    let kinds = [
        ("lost", faults.lost),
        ("doubled", faults.doubled),
        ("reordered", faults.reordered),
        ("damaged", faults.damaged),
        ("closed", faults.closed),
    ];
    let told =
        kinds.iter().filter(|(_, count)| *count > 0).map(|(kind, count)| format!("{count} {kind}"));
    told.collect::<Vec<_>>().join(", ")
}

/// What became of the messages of all cases, server by server.
pub fn verdict(all: &[Results]) -> String {
    let mut labels: Vec<&str> = Vec::new();
    for row in all.iter().flat_map(|results| &results.rows) {
        if !labels.contains(&row.server.as_str()) {
            labels.push(&row.server);
        }
    }
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "server",
        "messages checked",
        "lost",
        "doubled",
        "reordered",
        "damaged",
        "closed by server",
    ]);
    for label in labels {
        let rows = all.iter().flat_map(|results| &results.rows).filter(|row| row.server == label);
        let (mut deliveries, mut faults) = (0, crate::fleet::tally::Faults::default());
        for row in rows {
            deliveries += row.deliveries;
            faults.add(row.faults);
        }
        let counts = [
            deliveries,
            faults.lost,
            faults.doubled,
            faults.reordered,
            faults.damaged,
            faults.closed,
        ];
        let cells = counts.iter().map(|count| right(count.to_string()));
        table.add_row(std::iter::once(Cell::new(label)).chain(cells));
    }
    format!("\nEvery message was checked:\n{table}")
}

/// The machine, and what each server says it is.
pub fn setting(setting: &Setting, all: &[Results]) -> String {
    let mut text = format!(
        "\n{}, {} cores, {}; {}\n{}\n",
        setting.processor, setting.cores, setting.kernel, setting.pinned, setting.command
    );
    let mut told: Vec<&str> = Vec::new();
    for row in all.iter().flat_map(|results| &results.rows) {
        if !told.contains(&row.server.as_str()) {
            told.push(&row.server);
            text.push_str(&format!("{}: {}\n", row.server, row.version));
        }
    }
    text
}
