//! Tables in Markdown, so that a run can be pasted into the README as it is.

/// Rows of text under a head.
#[derive(Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// Starts with the names of the columns.
    #[must_use]
    pub fn new<const N: usize>(head: [&str; N]) -> Self {
        Self(vec![head.map(str::to_owned).to_vec(), vec!["---".to_owned(); N]])
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has another number of cells than the head.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.0[0].len(), "a row has as many cells as the head");
        self.0.push(cells.to_vec());
    }

    /// Prints it under a title.
    pub fn print(&self, title: &str) {
        println!("\n{title}\n");
        for row in &self.0 {
            println!("| {} |", row.join(" | "));
        }
    }
}

/// A number as people read it: three digits, k or M behind.
#[must_use]
pub fn short(number: f64) -> String {
    match number {
        n if n >= 10e6 => format!("{:.1} M", n / 1e6),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 10e3 => format!("{:.0} k", n / 1e3),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n if n >= 10.0 => format!("{n:.0}"),
        n => format!("{n:.2}"),
    }
}

/// The middle one, by `key`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn median<T>(mut runs: Vec<T>, key: impl Fn(&T) -> f64) -> T {
    runs.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle).expect("at least one run")
}
