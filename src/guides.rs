//! The guides of `docs/guides`: their code is compiled and run as doc tests.

macro_rules! guides {
    ($($name:ident: $file:literal),* $(,)?) => {$(
        #[doc = include_str!(concat!("../docs/guides/", $file))]
        pub struct $name;
    )*};
}

guides! {
    ActorsAndMetadata: "actors-and-metadata.md",
    ComingFromAshEvents: "coming-from-ashevents.md",
    ReplayAndVersions: "replay-and-versions.md",
    ResourcesAndActions: "resources-and-actions.md",
    SideEffects: "side-effects.md",
    TenantsAndLocks: "tenants-and-locks.md",
    Testing: "testing.md",
    TheVault: "vault.md",
}
