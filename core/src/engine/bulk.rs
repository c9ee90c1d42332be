//! Bulk actions: one commit, one event each.

use super::action::Action;
use super::resource::{Resource, key_of};
use super::session::{Inputs, Session};
use crate::error::Result;
use crate::types::RecordKey;

/// The id of an action's record.
type IdOf<A> = <<A as Action>::Resource as Resource>::Id;

impl Session {
    /// Creates records, one event each, in one commit: all of them or none.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create); `TooLarge` for more than the store takes in one commit
    /// ([`Limits::commit_changes`](crate::types::Limits::commit_changes)).
    ///
    /// # Cancel safety
    ///
    /// Dropped, all are committed or none is.
    pub async fn bulk_create<A: Action>(&self, actions: impl IntoIterator<Item = A>) -> Result<Vec<A::Resource>> {
        let (mut attempts, mut inputs) = (self.attempts(None), Inputs::of(actions.into_iter().collect()));
        loop {
            let mut unit = self.begin()?;
            let mut records = Vec::new();
            for action in inputs.all()? {
                records.push(unit.create::<A>(action).await?);
            }
            inputs.keep(&unit);
            if attempts.committed(unit).await? {
                return Ok(records);
            }
        }
    }

    /// Changes records, one event each, in one commit: all of them or none.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update); `TooLarge` as for [`bulk_create`](Self::bulk_create).
    ///
    /// # Cancel safety
    ///
    /// Dropped, all are committed or none is.
    pub async fn bulk_update<A: Action>(
        &self,
        actions: impl IntoIterator<Item = (IdOf<A>, A)>,
    ) -> Result<Vec<A::Resource>> {
        let (ids, actions): (Vec<_>, Vec<_>) = actions.into_iter().unzip();
        let (keys, mut inputs) = (keys::<A>(&ids)?, Inputs::of(actions));
        let mut attempts = self.attempts(None);
        loop {
            let mut unit = self.begin()?;
            unit.fetch(keys.clone()).await?;
            let mut records = Vec::with_capacity(ids.len());
            for (id, action) in ids.iter().zip(inputs.all()?) {
                records.push(unit.update::<A>(id, action).await?);
            }
            inputs.keep(&unit);
            if attempts.committed(unit).await? {
                return Ok(records);
            }
        }
    }

    /// Destroys records, one event each, in one commit: all of them or none.
    ///
    /// # Errors
    ///
    /// As for [`destroy`](Self::destroy); `TooLarge` as for [`bulk_create`](Self::bulk_create).
    ///
    /// # Cancel safety
    ///
    /// Dropped, all are committed or none is.
    pub async fn bulk_destroy<A: Action>(&self, actions: impl IntoIterator<Item = (IdOf<A>, A)>) -> Result<()> {
        let (ids, actions): (Vec<_>, Vec<_>) = actions.into_iter().unzip();
        let (keys, mut inputs) = (keys::<A>(&ids)?, Inputs::of(actions));
        let mut attempts = self.attempts(None);
        loop {
            let mut unit = self.begin()?;
            unit.fetch(keys.clone()).await?;
            for (id, action) in ids.iter().zip(inputs.all()?) {
                unit.destroy::<A>(id, action).await?;
            }
            inputs.keep(&unit);
            if attempts.committed(unit).await? {
                return Ok(());
            }
        }
    }
}

fn keys<A: Action>(ids: &[IdOf<A>]) -> Result<Vec<RecordKey>> {
    ids.iter().map(key_of::<A::Resource>).collect()
}
