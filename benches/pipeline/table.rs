//! The figures as a Markdown table: what was measured, what must be reached, what it was next to.

use std::fmt;

const HEAD: [&str; 5] = ["what", "measured", "must reach", "", "in the same run"];

#[derive(Default)]
pub struct Table(Vec<[String; 5]>);

/// A promise of design's section 6.
#[derive(Clone, Copy)]
pub enum Must {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing is promised: told to be known.
    Told,
}

impl Table {
    pub fn row(&mut self, what: impl Into<String>, measured: f64, unit: &str, must: Must, beside: impl Into<String>) {
        let (wanted, is_met) = match must {
            Must::AtLeast(least) => (format!("≥ {}{unit}", figure(least)), Some(measured >= least)),
            Must::AtMost(most) => (format!("≤ {}{unit}", figure(most)), Some(measured <= most)),
            Must::Told => (String::new(), None),
        };
        let verdict = is_met.map_or("", |is_met| if is_met { "ok" } else { "SHORT" });
        let what = what.into();
        let measured = format!("{}{unit}", figure(measured));
        eprintln!("  {what}: {measured} {verdict}");
        self.0.push([what, measured, wanted, verdict.to_owned(), beside.into()]);
    }
}

pub fn figure(value: f64) -> String {
    match value {
        value if value >= 1_000.0 => {
            let whole = format!("{value:.0}");
            let (front, back) = whole.split_at(whole.len() - 3);
            match front.len() {
                4.. => format!("{},{},{back}", &front[..front.len() - 3], &front[front.len() - 3..]),
                _ => format!("{front},{back}"),
            }
        }
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = HEAD.map(str::to_owned);
        let width = |column: usize| {
            let cells = self.0.iter().chain([&head]).map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths = [0, 1, 2, 3, 4].map(width);
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String; 5]| {
            for (cell, width) in cells.iter().zip(widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")
        };
        line(f, &head)?;
        for width in widths {
            write!(f, "|{:-<1$}", "", width + 2)?;
        }
        writeln!(f, "|")?;
        self.0.iter().try_for_each(|cells| line(f, cells))
    }
}
