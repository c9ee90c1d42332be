//! A dump that is restored after a subject was forgotten: with the keys that were kept apart from it, it stays shut.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod clinic;
mod shop;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use clinic::{Letter, Patient, both, fault, first, lived_in, open, patient, second};
use rekindle::postgres::{PostgresBackend, PostgresConfig};
use rekindle::sled::SledBackend;
use rekindle::store::Store;
use rekindle::types::DefaultLockKeys;
use rekindle::vault::{ExportedKeys, Vault};
use rekindle::{Log, LogId, SubjectStatus, VaultFault};
use shop::{events, session};

/// Lives in a log until it is dumped.
async fn before_the_dump(store: &Arc<dyn Store>) {
    let log = open(store, "main", first()).await;
    lived_in(&log, "secret").await;
    log.shutdown().await.unwrap();
}

/// Forgets patient 2, puts a new key-encryption key in the place of the old one, and keeps the keys apart.
async fn after_the_dump(store: &Arc<dyn Store>) -> Vec<ExportedKeys> {
    let log = open(store, "main", both("second")).await;
    let receipt = session(&log).forget(&patient(2), "article 17").await.unwrap();
    assert_eq!(receipt.pending, ["first"], "dumps of before can be opened by it");
    let vault = log.vault().unwrap();
    vault.rewrap().await.unwrap();
    vault.retire("first").await.unwrap();
    assert_eq!(session(&log).forget(&patient(2), "article 17").await.unwrap().pending, Vec::<String>::new());
    let exported = vault.export_keys().await.unwrap();
    log.shutdown().await.unwrap();
    // They are kept as text.
    serde_json::from_str(&serde_json::to_string(&exported).unwrap()).unwrap()
}

/// What a restored dump is worth without the old key-encryption key: nothing, until the keys are imported.
async fn restored(store: &Arc<dyn Store>, exported: Vec<ExportedKeys>) {
    let error = clinic::try_open(Arc::clone(store), "main", second()).await.unwrap_err();
    assert_eq!(fault(&error), VaultFault::NoKek);
    assert!(error.to_string().ends_with(r#"the key-encryption key "first" is asked for, and it is not there"#));
    let (events, lock_keys) = (Arc::clone(store), Arc::new(DefaultLockKeys::default()));
    let vault = Vault::open(events, second().into(), lock_keys).await.unwrap();
    let main = LogId::new("main").unwrap();
    let status = vault.status(&main, &patient(2)).await.unwrap();
    assert_eq!(status, SubjectStatus::Known { keys: 1 }, "as the dump has it");
    let imported = vault.import_keys(exported.clone()).await.unwrap();
    assert_eq!(imported.forgotten, [(main, patient(2))]);
    assert_eq!(vault.import_keys(exported).await.unwrap().written, 0, "it is done");
    let log = open(store, "main", second()).await;
    is_shut(&log).await;
    // It goes on where the dump has left off: forgetting again tells of it, and takes out what is left.
    let receipt = session(&log).forget(&patient(2), "another reason").await.unwrap();
    assert_eq!((receipt.redacted.reason.as_str(), receipt.records), ("article 17", 4));
    assert_eq!(receipt.pending, Vec::<String>::new());
    assert_eq!(log.replay().verify().await.unwrap().drifts, []);
    is_shut(&log).await;
    log.replay().await.unwrap();
    is_shut(&log).await;
}

async fn is_shut(log: &Log) {
    assert!(matches!(log.subject(&patient(2)).await.unwrap(), SubjectStatus::Forgotten(_)));
    for event in events(log).await.iter().take(8) {
        let of_it = event.resource.as_str() == "clinic.patient" && event.record_id.as_str() == "2"
            || event.resource.as_str() == "clinic.letter" && event.record_id.as_str() != "4";
        match event.data.json() {
            Ok(_) => assert!(!of_it, "{}", event.position),
            Err(error) => assert!(of_it && matches!(fault(&error), VaultFault::Redacted(_)), "{error}"),
        }
    }
    let patients: Vec<Patient> = shop::all(log).await;
    let diagnoses: Vec<_> = patients.iter().map(|patient| patient.diagnosis.as_deref()).collect();
    assert_eq!(diagnoses, [Some("secret cold"), None]);
    let letters: Vec<Letter> = shop::all(log).await;
    let texts: Vec<_> = letters.iter().map(|letter| letter.text.as_deref()).collect();
    assert_eq!(texts, [None, None, None, Some("secret dear")]);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

async fn in_folder(folder: &Path, work: impl AsyncFnOnce(&Arc<dyn Store>)) {
    let backend = SledBackend::open(folder).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(backend.clone());
    work(&store).await;
    drop(store);
    backend.close().await;
}

#[tokio::test]
async fn e8_a_forgotten_subject_stays_shut_when_a_copy_of_a_sled_folder_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (live, dump) = (folder.path().join("live"), folder.path().join("dump"));
    in_folder(&live, async |store| before_the_dump(store).await).await;
    copy(&live, &dump);
    let mut exported = Vec::new();
    in_folder(&live, async |store| exported = after_the_dump(store).await).await;
    // Whoever has the dump and the old key opens it: that is why the old key is destroyed.
    let stolen = folder.path().join("stolen");
    copy(&dump, &stolen);
    in_folder(&stolen, async |store| {
        let log = open(store, "main", first()).await;
        assert_eq!(log.get::<Patient>(&2).await.unwrap().unwrap().diagnosis.as_deref(), Some("secret cold"));
        // It has been written on for longer than the live one, and is shut by an import none the less.
        for _ in 0..5 {
            log.vault().unwrap().rotate(log.id(), &patient(2)).await.unwrap();
        }
        log.shutdown().await.unwrap();
        let log = open(store, "main", both("first")).await;
        let imported = log.vault().unwrap().import_keys(exported.clone()).await.unwrap();
        assert_eq!(imported.forgotten, [(log.id().clone(), patient(2))]);
        is_shut(&log).await;
        let again = log.vault().unwrap().import_keys(exported.clone()).await.unwrap();
        assert_eq!(again.written, 0, "it is done");
        session(&log).forget(&patient(2), "again").await.unwrap();
        is_shut(&log).await;
        log.shutdown().await.unwrap();
    })
    .await;
    std::fs::remove_dir_all(&live).unwrap();
    copy(&dump, &live);
    in_folder(&live, async |store| restored(store, exported).await).await;
}

#[tokio::test]
async fn e8_a_forgotten_subject_stays_shut_when_a_dump_of_postgres_is_restored() {
    let Some(server) = rekindle_test_servers::postgres() else { return };
    let schema = server.fresh_schema();
    let config = || PostgresConfig::new().with_schema(&schema).unwrap();
    let connect = || async {
        let store: Arc<dyn Store> = Arc::new(PostgresBackend::connect_with(server.url(), config()).await.unwrap());
        store
    };
    PostgresBackend::migrate(server.url(), &config()).await.unwrap();
    before_the_dump(&connect().await).await;
    let dump = Command::new("pg_dump").arg(server.url()).args(["--schema", &schema]).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let exported = after_the_dump(&connect().await).await;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("dump.sql");
    std::fs::write(&script, [format!("drop schema {schema} cascade;").as_bytes(), &dump.stdout].concat()).unwrap();
    let mut psql = Command::new("psql");
    psql.arg(server.url()).args(["--quiet", "--set", "ON_ERROR_STOP=1", "--file"]).arg(&script);
    assert!(psql.stdout(Stdio::null()).status().unwrap().success());
    restored(&connect().await, exported).await;
}
