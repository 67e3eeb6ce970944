//! A plot of a run: what something costs as bars on the left, latency curves on the right. SVG, no fonts needed.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::error::BenchError;

/// What is drawn.
#[derive(Debug, Default)]
pub(crate) struct Plot {
    /// Above everything.
    pub(crate) title: String,
    /// What the bars are, with the unit.
    pub(crate) bars_title: String,
    /// Names, each with the values of its repetitions: the bar is as high as their median.
    pub(crate) bars: Vec<(String, Vec<f64>)>,
    /// What the curves are.
    pub(crate) curves_title: String,
    /// Names, each with (nines, milliseconds).
    pub(crate) curves: Vec<(String, Vec<(f64, f64)>)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

const SIZE: (u32, u32) = (1000, 420);
const COLOURS: [RGBColor; 4] =
    [RGBColor(37, 99, 235), RGBColor(217, 119, 6), RGBColor(5, 150, 105), RGBColor(190, 24, 93)];
const GREY: RGBColor = RGBColor(120, 120, 120);

impl Plot {
    /// Draws it.
    pub(crate) fn svg(&self) -> Result<String, BenchError> {
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
            self.draw(&root).map_err(|e| BenchError::Protocol(format!("the plot cannot be drawn: {e}")))?;
        }
        Ok(text)
    }

    fn draw(&self, root: &Area<'_>) -> Drawn {
        root.fill(&WHITE)?;
        let below = root.titled(&self.title, ("sans-serif", 20))?;
        let (left, right) = below.split_horizontally(SIZE.0 * 2 / 5);
        self.draw_bars(&left)?;
        self.draw_curves(&right)?;
        root.present()
    }

    fn draw_bars(&self, area: &Area<'_>) -> Drawn {
        let all = self.bars.iter().flat_map(|(_, values)| values).copied();
        let top = all.fold(0.0, f64::max).max(f64::MIN_POSITIVE) * 1.2;
        let count = self.bars.len().max(1) as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.bars_title, ("sans-serif", 15))
            .margin(12)
            .x_label_area_size(30)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..count, 0.0..top)?;
        chart.configure_mesh().disable_x_mesh().disable_x_axis().light_line_style(GREY.mix(0.1)).draw()?;
        let centred = Pos::new(HPos::Center, VPos::Bottom);
        for (index, (name, values)) in self.bars.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let left = index as f64;
            let median = crate::stats::Spread::of(values.iter().copied()).map_or(0.0, |spread| spread.median);
            let bar = Rectangle::new([(left + 0.2, 0.0), (left + 0.8, median)], colour.mix(0.6).filled());
            chart.draw_series([bar])?;
            let step = 0.5 / (values.len() + 1) as f64;
            let dots = values.iter().enumerate().map(|(i, &value)| {
                Circle::new((left + 0.25 + step * (i + 1) as f64, value), 3, BLACK.mix(0.7).filled())
            });
            chart.draw_series(dots)?;
            let style = ("sans-serif", 14).into_text_style(area).pos(centred);
            let highest = values.iter().copied().fold(median, f64::max);
            let label = format!("{name}: {median:.2}");
            chart.draw_series([Text::new(label, (left + 0.5, highest + top * 0.03), style)])?;
        }
        Ok(())
    }

    fn draw_curves(&self, area: &Area<'_>) -> Drawn {
        let values = self.curves.iter().flat_map(|(_, points)| points).map(|&(_, milliseconds)| milliseconds);
        let top = values.fold(0.0, f64::max).max(f64::MIN_POSITIVE) * 1.1;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.curves_title, ("sans-serif", 15))
            .margin(12)
            .margin_right(30)
            .x_label_area_size(30)
            .y_label_area_size(55)
            .build_cartesian_2d(0.0..4.0, 0.0..top)?;
        chart
            .configure_mesh()
            .x_labels(5)
            .x_label_formatter(&|nines| percentile(*nines))
            .light_line_style(GREY.mix(0.1))
            .draw()?;
        for (index, (name, points)) in self.curves.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        }
        if !self.curves.is_empty() {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .border_style(GREY.mix(0.3))
                .draw()?;
        }
        Ok(())
    }
}

/// `0` nines are the fastest of all, one is 90%, two are 99%.
fn percentile(nines: f64) -> String {
    let percent = 100.0 * (1.0 - 10f64.powf(-nines));
    let digits = (nines - 2.0).max(0.0).round() as usize;
    format!("{percent:.digits$}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_named() {
        let names: Vec<String> = [0.0, 1.0, 2.0, 3.0, 4.0].map(percentile).into();
        assert_eq!(names, ["0%", "90%", "99%", "99.9%", "99.99%"]);
    }

    #[test]
    fn a_plot_is_an_svg_with_its_names() {
        let plot = Plot {
            title: "broadcast".to_owned(),
            bars_title: "CPU".to_owned(),
            bars: vec![("pod".to_owned(), vec![7.0, 8.0]), ("floor".to_owned(), vec![6.0])],
            curves_title: "latency".to_owned(),
            curves: vec![("pod to all".to_owned(), vec![(0.0, 1.0), (4.0, 9.0)])],
        };
        let svg = plot.svg().expect("a plot");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for name in ["broadcast", "pod: 7.50", "floor: 6.00", "pod to all"] {
            assert!(svg.contains(name), "{name}");
        }
    }

    #[test]
    fn nothing_can_be_drawn() {
        assert!(Plot::default().svg().is_ok());
    }
}
