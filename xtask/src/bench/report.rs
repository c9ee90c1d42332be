//! Medians with their spread, printed as a table and as JSON.

use std::path::Path;

use serde_json::{Map, Value, json};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The figures of a benchmark.
pub(crate) struct Report {
    figures: Map<String, Value>,
}

impl Report {
    pub(crate) fn new(name: &str, backend: &str) -> Self {
        let figures = Map::from_iter([("bench".to_owned(), json!(name)), ("backend".to_owned(), json!(backend))]);
        Self { figures }
    }

    /// Prints one figure, measured several times, and keeps it.
    pub(crate) fn figure(&mut self, name: impl Into<String>, unit: &str, measured: &[f64]) {
        let name = name.into();
        let mut sorted = measured.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return };
        let median = sorted[sorted.len() / 2];
        println!("{name:<44} {:>12}  ({} .. {}) {unit}", number(median), number(*min), number(*max));
        self.figures.insert(name, json!({ "median": median, "min": min, "max": max, "unit": unit }));
    }

    /// Prints the JSON as the last line, and writes it where it is asked for.
    pub(crate) fn finish(self, file: Option<&Path>) -> Result<()> {
        let line = Value::Object(self.figures).to_string();
        if let Some(file) = file {
            std::fs::write(file, &line)?;
        }
        println!("{line}");
        Ok(())
    }
}

fn number(figure: f64) -> String {
    if figure.abs() >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.3}") }
}

/// Round by round, the one against the other.
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}
