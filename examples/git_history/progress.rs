//! The progress bar.

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) fn bar(total: u64, what: &'static str, unit: &str) -> ProgressBar {
    let template = format!("{{msg:>10}} [{{wide_bar}}] {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style).with_message(what)
}
