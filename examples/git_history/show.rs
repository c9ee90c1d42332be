//! Showing: the log's last entries, and the history of one file.

use std::collections::HashMap;

use rekindle::{Event, EventQuery, Json, Log, Order};
use uuid::Uuid;

use crate::file::File;
use crate::git::Result;
use crate::record::commit_of;

pub(crate) async fn last_entries(log: &Log) -> Result<()> {
    println!("\nthe log's last entries:");
    let page = log.events(&EventQuery::new().with_order(Order::Backward).with_limit(8)).await?;
    for event in page.items.iter().rev() {
        println!("  {}", line(event)?);
    }
    Ok(())
}

/// The history of the file that was changed most in the last thousands of events.
pub(crate) async fn one_file(log: &Log) -> Result<()> {
    let page = log.events(&EventQuery::new().with_order(Order::Backward).with_limit(5_000)).await?;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for event in &page.items {
        *counts.entry(event.record_id.as_str()).or_default() += 1;
    }
    let Some((id, _)) = counts.into_iter().max_by_key(|(id, count)| (*count, *id)) else { return Ok(()) };
    let id: Uuid = id.parse()?;
    let history = log.history::<File>(&id).await?;
    let path = history.iter().rev().find_map(|step| step.record.as_ref()).map_or("a file", |file| &file.path);
    println!("\nthe history of {path}, {} events long; the last of them:", history.len());
    let from = history.len().saturating_sub(6);
    for (at, step) in history.iter().enumerate().skip(from) {
        println!("  {}", line(&step.event)?);
        let before = at.checked_sub(1).and_then(|at| history[at].attributes.as_ref());
        for change in changes(before, step.attributes.as_ref())? {
            println!("      {change}");
        }
    }
    println!();
    Ok(())
}

fn line(event: &Event) -> Result<String> {
    let actor = event.actor.as_ref().map_or_else(String::new, |actor| actor.id().to_owned());
    let commit = commit_of(event)?;
    Ok(format!(
        "{:>7}  {}  {:<8} {}  {:.10}  {actor}",
        event.position, event.occurred_at, event.action, event.record_id, commit
    ))
}

fn changes(before: Option<&Json>, after: Option<&Json>) -> Result<Vec<String>> {
    let object = |json: Option<&Json>| json.map(Json::to_object).transpose().map(Option::unwrap_or_default);
    let (before, after) = (object(before)?, object(after)?);
    let names: std::collections::BTreeSet<&str> = before.names().chain(after.names()).collect();
    let changed = names.into_iter().filter(|name| before.get(name) != after.get(name));
    Ok(changed
        .map(|name| format!("{name}: {} -> {}", before.get(name).unwrap_or("-"), after.get(name).unwrap_or("-")))
        .collect())
}
