//! Plots: how latencies are distributed, and what a delivery costs as subscribers grow.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

use crate::figures::{Metric, Percentile, Results};

/// The curves of a plot: a name, and points in order.
type Curves = Vec<(String, Vec<(f64, f64)>)>;

const SIZE: (u32, u32) = (900, 520);
const FONT: &str = "sans-serif";

/// Draws what the results can show into `directory`, and says which files that made.
pub fn all(results: &[Results], directory: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let mut made = Vec::new();
    for results in results {
        let mut draw = |name: &str, axes: &Axes<'_>, curves: &Curves| -> Result<()> {
            if curves.iter().all(|(_, points)| points.is_empty()) {
                return Ok(());
            }
            let path = directory.join(format!("{}-{name}.svg", results.case));
            let title = format!("{}, {}", results.case, results.question);
            chart(&path, &title, axes, curves)
                .map_err(|error| anyhow!("{}: {error}", path.display()))?;
            made.push(path);
            Ok(())
        };
        draw("latency", &LATENCY, &latencies(results))?;
        draw("cost", &COST, &costs(results))?;
    }
    Ok(made)
}

/// What the axes are called, and how a place on them is written.
struct Axes<'a> {
    x: &'a str,
    y: &'a str,
    x_label: fn(f64) -> String,
    y_label: fn(f64) -> String,
    /// Whether the y axis begins at zero.
    from_zero: bool,
}

const LATENCY: Axes<'static> = Axes {
    x: "share of the messages",
    y: "ms from due to arrival",
    x_label: nines_label,
    y_label: power_label,
    from_zero: false,
};
const COST: Axes<'static> = Axes {
    x: "subscribers",
    y: "CPU µs per delivery",
    x_label: power_label,
    y_label: plain_label,
    from_zero: true,
};

/// Where a share stands so that each further nine takes as much room: 90 % at 1, 99 % at 2.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

fn nines_label(place: f64) -> String {
    let share = 100.0 * (1.0 - 10f64.powf(-place));
    format!("{share:.*} %", place.ceil().max(2.0) as usize - 2)
}

fn power_label(place: f64) -> String {
    let value = 10f64.powf(place);
    format!("{value:.*}", if value < 1.0 { 2 } else { 0 })
}

fn plain_label(value: f64) -> String {
    format!("{value:.2}")
}

fn latencies(results: &Results) -> Curves {
    let place = |point: &Percentile| (nines(point.percent), point.ms.max(1e-4).log10());
    let curves = results.rows.iter().map(|row| {
        let shown = row.latency.iter().filter(|point| point.percent < 100.0);
        (row.server.clone(), shown.map(place).collect())
    });
    curves.collect()
}

/// A curve for each kind of server that took part with several numbers of subscribers.
fn costs(results: &Results) -> Curves {
    let mut curves = Curves::new();
    for row in &results.rows {
        let (Some((name, subscribers)), Some(cost)) =
            (&row.point, row.figure(Metric::CpuPerDelivery))
        else {
            continue;
        };
        let point = ((*subscribers as f64).log10(), cost.value.median);
        match curves.iter_mut().find(|(other, _)| other == name) {
            Some((_, points)) => points.push(point),
            None => curves.push((name.clone(), vec![point])),
        }
    }
    curves.iter_mut().for_each(|(_, points)| points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    curves
}

/// The least and the greatest of some values, with a little room around.
fn range(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    if high > low { low..high } else { low..low + 1.0 }
}

fn chart(
    path: &Path,
    title: &str,
    axes: &Axes<'_>,
    curves: &Curves,
) -> Result<(), Box<dyn std::error::Error>> {
    let points = curves.iter().flat_map(|(_, points)| points.iter());
    let xs = range(points.clone().map(|point| point.0));
    let ys = range(points.map(|point| point.1));
    let room = 0.08 * (ys.end - ys.start);
    let ys = if axes.from_zero { 0.0..ys.end * 1.1 } else { ys.start - room..ys.end + room };
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 18))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(xs, ys)?;
    chart
        .configure_mesh()
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_labels(6)
        .x_label_formatter(&|place| (axes.x_label)(*place))
        .y_label_formatter(&|place| (axes.y_label)(*place))
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .draw()?;
    for (number, (name, points)) in curves.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(3)));
        if points.len() < 10 {
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, color.filled())))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 14))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_further_nine_is_as_far() {
        assert!((nines(90.0) - 1.0).abs() < 1e-9);
        assert!((nines(99.9) - 3.0).abs() < 1e-9);
        assert_eq!((nines_label(0.0), nines_label(1.0)), ("0 %".to_owned(), "90 %".to_owned()));
        assert_eq!((nines_label(2.0), nines_label(3.0)), ("99 %".to_owned(), "99.9 %".to_owned()));
    }

    #[test]
    fn a_plot_names_its_curves() {
        let directory =
            std::env::temp_dir().join(format!("roadcast-bench-plot.{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("plot.svg");
        let curves = vec![("roadcast".to_owned(), vec![(2.0, 4.0), (3.0, 4.1)])];
        chart(&path, "a title", &COST, &curves).unwrap();
        let drawn = fs::read_to_string(&path).unwrap();
        assert!(drawn.contains("roadcast") && drawn.contains("a title"));
        fs::remove_dir_all(directory).unwrap();
    }
}
