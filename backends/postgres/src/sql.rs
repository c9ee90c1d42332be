//! The statements, with the schema in them.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use crate::config::Schema;

/// The columns of an event, in the order in which [`rows`](crate::rows) reads them.
const EVENT_COLUMNS: &str = "e.position, e.revision, e.occurred_at, e.version, e.id, e.action_type, e.resource, \
    e.record_id, e.action, e.actor_kind, e.actor_id, e.data, e.changed_attributes, e.metadata, e.removed_attributes, \
    e.sealed_data, e.sealed_changed_attributes, e.sealed_metadata";

/// Puts the schema into a text.
///
/// **Invariant**: every statement of this crate is made here, of texts of its own, the quoted name of the schema, and the numbers
/// of a span of time. Nothing else is ever put into one: values are bound.
pub(crate) fn of_schema(text: &str, schema: &Schema) -> String {
    text.replace("@schema@", &schema.quoted()).replace("@event_columns@", EVENT_COLUMNS)
}

macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        /// Every statement that has a fixed text.
        #[derive(Debug)]
        pub(crate) struct Sql {
            schema: Schema,
            $($name: Arc<str>,)*
        }

        impl Sql {
            pub(crate) fn new(schema: &Schema) -> Self {
                Self { schema: schema.clone(), $($name: of_schema(include_str!(concat!("sql/", $file)), schema).into(),)* }
            }

            $(pub(crate) fn $name(&self) -> AssertSqlSafe<Arc<str>> {
                AssertSqlSafe(Arc::clone(&self.$name))
            })*
        }
    };
}

statements! {
    add_log = "add_log.sql";
    append_batch = "append_batch.sql";
    append_plain = "append_plain.sql";
    begin_generation = "begin_generation.sql";
    clear = "clear.sql";
    copy_identities = "copy_identities.sql";
    copy_records = "copy_records.sql";
    count_records = "count_records.sql";
    events_by_id = "events_by_id.sql";
    find = "find.sql";
    finish = "finish.sql";
    free_identities = "free_identities.sql";
    get = "get.sql";
    head = "head.sql";
    keys = "keys.sql";
    keys_by_id = "keys_by_id.sql";
    list_backward = "list_backward.sql";
    list_forward = "list_forward.sql";
    list_keys = "list_keys.sql";
    loaded = "loaded.sql";
    lock = "lock.sql";
    lock_head = "lock_head.sql";
    lock_heads = "lock_heads.sql";
    logs_with_keys = "logs_with_keys.sql";
    migrations = "migrations.sql";
    notify = "notify.sql";
    owners = "owners.sql";
    purge_identities = "purge_identities.sql";
    purge_records = "purge_records.sql";
    rebuild_row = "rebuild_row.sql";
    rebuild_row_lock = "rebuild_row_lock.sql";
    row_types = "row_types.sql";
    settings = "settings.sql";
    take_identities = "take_identities.sql";
    upsert_records = "upsert_records.sql";
    view = "view.sql";
    write_batch = "write_batch.sql";
}

impl Sql {
    /// A statement that is put together of texts of this crate.
    pub(crate) fn composed(&self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(of_schema(text, &self.schema))
    }
}
