//! The suite, tested: each fault is found by the cases that are named for it, and those cases pass a store without it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod faulty;

use faulty::{Fault, FaultyFixture, Plant};
use rekindle_conformance::{CASES, run_case};

struct Sound;

impl Plant for Sound {
    const FAULT: Fault = Fault::None;
}

fn assert_found<P: Plant>(cases: &[&str]) {
    for case in cases {
        if let Err(failure) = run_case::<FaultyFixture<Sound>>(case) {
            panic!("the case fails without the fault: {failure}");
        }
        let Err(failure) = run_case::<FaultyFixture<P>>(case) else {
            panic!("{case} does not find the fault {:?}", P::FAULT);
        };
        assert!(!failure.message.contains("the case hung"), "{failure}");
    }
}

macro_rules! faults {
    ($($name:ident: $fault:ident is found by $($case:literal),+;)+) => {$(
        #[test]
        fn $name() {
            struct Planted;
            impl Plant for Planted {
                const FAULT: Fault = Fault::$fault;
            }
            assert_found::<Planted>(&[$($case),+]);
        }
    )+};
}

faults! {
    a_revision_check_that_is_skipped: RevisionCheckSkipped is found by
        "concurrency::a_stale_revision_conflicts", "concurrency::of_n_racers_one_wins", "concurrency::delete_and_recreate_defeats_aba",
        "concurrency::read_then_update_loses_no_increment", "random::random_sequences_equal_the_model";
    an_event_without_its_change: EventWithoutChange is found by "atomicity::every_change_has_its_event", "random::random_sequences_equal_the_model",
        "vault::equal_plaintexts_give_different_ciphertexts", "vault::a_changed_character_of_a_sealed_attribute_is_refused";
    a_change_without_its_event: ChangeWithoutEvent is found by "atomicity::every_change_has_its_event", "atomicity::the_log_folds_to_the_records";
    a_gap_between_positions: PositionGap is found by "append::positions_are_dense_from_1", "random::random_sequences_equal_the_model";
    the_order_of_a_batch_lost: BatchOrderLost is found by "append::a_batch_keeps_its_input_order", "concurrency::a_commit_sees_those_before_in_its_batch",
        "batches::random_batches_equal_the_model";
    a_history_that_a_batch_cuts: HistoryCutByBatch is found by "batches::random_batches_equal_the_model";
    a_record_made_again_in_its_batch_that_is_not_listed: RemadeInBatchNotListed is found by
        "batches::random_batches_equal_the_model";
    a_failure_that_spreads: FailureSpreads is found by
        "atomicity::a_failure_in_a_batch_stays_its_own", "random::random_sequences_equal_the_model",
        "key_commits::a_commit_sees_the_keys_of_those_before_in_its_batch";
    a_failure_that_leaves_a_trace: FailureLeavesTrace is found by
        "atomicity::a_failed_change_leaves_no_event", "concurrency::a_conflict_leaves_no_trace", "random::random_sequences_equal_the_model";
    a_limit_before_the_filter: LimitBeforeFilter is found by "read::the_limit_applies_after_the_filter", "random::random_sequences_equal_the_model";
    a_cursor_off_by_one: CursorOffByOne is found by "read::pages_concatenate_to_the_whole_at_any_size", "random::random_sequences_equal_the_model";
    a_cursor_of_records_that_is_inclusive: RecordCursorInclusive is found by
        "records::a_random_list_equals_the_reference", "records::pages_of_records_concatenate_to_the_whole";
    an_answer_before_it_is_durable: AcknowledgedBeforeDurable is found by
        "crash::what_was_answered_is_there_after_reopening", "keys::keys_are_there_after_reopening",
        "vault::a_forget_is_there_after_reopening";
    durability_that_is_only_claimed: DurabilityClaimedOnly is found by
        "crash::what_was_answered_is_there_after_reopening", "crash::ids_are_known_after_reopening";
    an_identity_that_is_not_released: IdentityNotReleased is found by
        "identities::an_identity_is_free_once_released", "identities::an_identity_is_free_once_its_record_is_destroyed",
        "identities::two_records_swap_identities_in_one_commit", "random::random_sequences_equal_the_model";
    a_clear_that_is_too_wide: ClearTooWide is found by "replay::clear_removes_its_log_only", "random::random_sequences_equal_the_model";
    a_rebuild_that_is_seen_too_early: SwappedTooEarly is found by "rebuild::what_is_loaded_is_not_seen_before_the_end";
    a_rebuild_laid_over_the_old_records: OldGenerationKept is found by
        "rebuild::what_is_loaded_is_not_seen_before_the_end", "replay::a_replay_to_n_is_the_state_at_n";
    a_rebuild_that_forgets_the_destroyed: TombstonesNotLoaded is found by
        "rebuild::loaded_gives_what_was_loaded", "replay::a_shadow_replay_rebuilds_the_same", "random::random_sequences_equal_the_model";
    records_in_the_order_of_their_keys: KeysSorted is found by "records::get_answers_in_the_order_of_the_keys";
    a_stale_revision_in_a_conflict: StaleRevisionInConflict is found by "concurrency::a_conflict_reports_the_actual_revision";
    idempotency_lost: IdempotencyLost is found by
        "idempotency::the_same_commit_again_gives_the_same_answer", "idempotency::racing_repetitions_have_one_effect",
        "append::an_event_id_is_in_a_log_once", "key_commits::a_repeated_commit_is_answered_whatever_its_keys";
    known_ids_that_are_trusted: KnownIdsTrusted is found by
        "idempotency::a_known_id_with_other_content_is_refused", "idempotency::a_commit_that_is_known_in_part_is_refused",
        "append::an_event_id_is_in_a_log_once", "atomicity::a_failed_event_undoes_the_change";
    a_bound_of_time_that_is_exclusive: TimeBoundExclusive is found by "time::time_filters_are_exact_at_the_boundary", "read::each_filter_equals_brute_force";
    a_leak_between_tenants: TenantLeak is found by "append::tenants_are_isolated", "keys::logs_have_keys_of_their_own",
        "vault::a_section_that_was_moved_is_refused", "vault::a_sealed_attribute_that_was_moved_is_refused";
    a_fence_that_does_not_exclude: FenceNotExclusive is found by
        "rebuild::a_fence_holds_commits_under_its_key", "asynchronous::a_commit_dropped_while_it_waits_frees_the_lock",
        "key_races::a_fence_holds_commits_of_keys";
    revisions_that_restart_after_a_destruction: TombstoneRevisionRestarts is found by "concurrency::delete_and_recreate_defeats_aba";
    a_commit_that_can_be_torn: CommitTorn is found by
        "asynchronous::a_commit_dropped_at_any_poll_is_whole_or_absent", "asynchronous::an_event_commit_dropped_at_any_poll_is_whole_or_absent",
        "atomicity::no_reader_sees_half_a_commit", "atomicity::values_of_a_failed_commit_are_never_read",
        "atomicity::a_commit_over_several_records_is_all_or_none", "append::a_commit_is_contiguous_among_racers",
        "key_races::a_commit_with_keys_dropped_at_any_poll_is_whole_or_absent",
        "key_races::no_reader_sees_half_a_commit_of_keys", "key_commits::keys_and_events_are_all_or_none";
    limits_that_are_ignored: LimitsIgnored is found by
        "limits::an_event_of_one_byte_more_is_too_large", "limits::metadata_of_one_byte_more_is_too_large",
        "limits::a_record_of_one_byte_more_is_too_large", "limits::a_commit_of_one_change_more_is_too_large", "limits::checks_count_as_changes",
        "key_commits::keys_of_one_byte_more_are_too_large", "key_commits::one_key_more_than_a_commit_takes_is_too_large";
    checks_that_are_ignored: ChecksIgnored is found by "atomicity::write_skew_is_prevented", "identities::an_identity_that_was_read_is_checked";
    times_that_are_cut: TimeCutToMilliseconds is found by "time::microseconds_round_trip", "time::the_whole_range_round_trips";
    json_that_is_rewritten: JsonRewritten is found by "records::numbers_are_exact", "limits::text_in_json_is_exact";
    a_filter_that_is_ignored: ActorFilterIgnored is found by "read::each_filter_equals_brute_force", "read::text_is_literal";
    a_rewound_log_that_takes_commits: RewoundTakesCommits is found by
        "replay::a_cleared_log_is_rewound_to_0", "replay::a_replay_to_n_is_the_state_at_n";
    writes_that_are_dropped_without_a_word: EventsOnlyDropsWrites is found by "records::create_then_get_is_identity";
    guards_that_are_ignored: GuardsIgnored is found by
        "key_commits::a_guard_holds_at_its_epoch_only", "key_commits::a_commit_of_guards_only_leaves_nothing",
        "key_races::an_append_that_races_a_shred_lands_before_it_or_not_at_all", "keys::two_handles_agree_on_keys",
        "random::random_sequences_equal_the_model",
        "vault::nothing_is_sealed_by_a_key_that_another_handle_destroyed", "vault::an_update_that_races_a_forget_lands_before_it_or_is_refused";
    versions_of_keys_that_are_ignored: KeyVersionsIgnored is found by
        "key_commits::a_version_that_is_not_the_stored_one_is_refused", "key_commits::versions_may_jump",
        "key_commits::a_commit_of_keys_only_answers_without_events", "key_races::of_racing_creators_one_wins",
        "key_races::a_rewrap_that_races_a_shred_brings_nothing_back", "random::random_sequences_equal_the_model",
        "vault::a_destroyed_key_is_not_brought_back", "vault::a_wrapped_key_that_was_moved_is_refused";
    keys_that_are_checked_too_early: KeysCheckedTooEarly is found by
        "key_races::of_racing_creators_one_wins", "key_races::a_rewrap_that_races_a_shred_brings_nothing_back",
        "key_races::an_append_that_races_a_shred_lands_before_it_or_not_at_all";
    keys_of_a_failed_commit_that_are_written: KeysOfFailedCommitWritten is found by
        "key_commits::keys_and_records_are_all_or_none", "key_commits::keys_and_events_are_all_or_none",
        "key_commits::a_guard_holds_at_its_epoch_only", "random::random_sequences_equal_the_model";
    invalid_keys_that_are_mended: KeysMended is found by
        "key_commits::keys_twice_in_one_commit_are_invalid", "key_commits::a_version_that_does_not_follow_is_invalid";
    a_rewrap_that_changes_the_epoch: EveryWriteIsANewEpoch is found by
        "key_races::a_rewrap_does_not_disturb_appends", "random::random_sequences_equal_the_model";
    keys_that_make_a_rewound_log_live: KeysMakeLive is found by "keys::keys_are_written_in_any_state_of_the_log";
    keys_that_are_lost_with_clear: KeysLostWithClear is found by
        "keys::clear_and_rebuilds_leave_the_keys", "random::random_sequences_equal_the_model",
        "vault::clear_and_replay_leave_keys_alone";
    keys_that_are_found_by_the_newest_id_only: KeysFoundByNewestIdOnly is found by
        "keys::a_row_is_found_by_every_id_it_ever_had", "keys::keys_are_there_after_reopening",
        "random::random_sequences_equal_the_model",
        "vault::rotated_keys_keep_secrets_readable";
    rows_of_keys_that_are_copied: KeyRowsCopiedById is found by
        "keys::what_was_overwritten_is_read_nowhere", "keys::a_row_is_found_by_every_id_it_ever_had",
        "random::random_sequences_equal_the_model",
        "vault::a_forgotten_subject_is_unreadable_and_all_others_are_not", "vault::a_rewrap_that_was_broken_off_goes_on";
    keys_in_the_order_of_their_subjects: KeyRowsSorted is found by "keys::keys_are_answered_in_the_order_of_the_question";
    an_epoch_that_is_lost: EpochLost is found by
        "keys::a_row_reads_back_byte_for_byte", "keys::versions_and_epochs_are_exact",
        "vault::rotated_keys_keep_secrets_readable";
    versions_that_are_doubles: KeyNumbersAsDoubles is found by "keys::versions_and_epochs_are_exact";
    bodies_of_keys_that_are_text: KeyBodiesAsText is found by "keys::a_row_reads_back_byte_for_byte",
        "vault::a_secret_round_trips", "vault::a_flipped_bit_of_a_section_is_refused",
        "vault::a_missing_key_is_never_read_as_a_destroyed_one",
        "vault::a_wrong_key_and_a_missing_one_are_told_apart_from_tampering";
    bodies_of_keys_that_are_cut: KeyBodiesCut is found by
        "keys::the_largest_keys_pass", "keys::a_row_reads_back_byte_for_byte";
    subjects_that_are_folded: SubjectsInLowercase is found by "keys::any_text_is_a_subject";
    a_list_of_keys_that_is_cut_short: KeyListCutShort is found by
        "keys::pages_of_keys_concatenate_to_the_whole", "keys::a_page_of_keys_is_cut_to_the_stores_rows",
        "keys::a_walk_over_the_keys_goes_on_while_they_are_written",
        "vault::a_rewrap_that_was_broken_off_goes_on";
    logs_that_have_no_keys_and_are_listed: EveryLogHasKeys is found by
        "keys::a_new_store_has_no_keys", "keys::the_logs_with_keys_are_listed";
    keys_that_are_dropped_without_a_word: NoKeysDropsThem is found by
        "keys::a_row_reads_back_byte_for_byte", "key_commits::a_guard_holds_at_its_epoch_only";
}

/// So the cases that need a store to be opened again run, too.
#[test]
fn a_store_without_a_fault_passes_every_case() {
    for case in CASES {
        case.run::<FaultyFixture<Sound>>();
    }
}

/// The cases that take no records run as they are; the others check that records are refused.
#[test]
fn a_store_that_keeps_events_only_passes_every_case() {
    struct EventsOnly;
    impl Plant for EventsOnly {
        const FAULT: Fault = Fault::EventsOnly;
    }
    for case in CASES {
        case.run::<FaultyFixture<EventsOnly>>();
    }
}

/// The cases that take no keys run as they are; the others check that keys and guards are refused.
#[test]
fn a_store_that_keeps_no_keys_passes_every_case() {
    struct NoKeys;
    impl Plant for NoKeys {
        const FAULT: Fault = Fault::NoKeys;
    }
    for case in CASES {
        case.run::<FaultyFixture<NoKeys>>();
    }
}

#[test]
fn a_case_that_does_not_exist_is_an_error() {
    let failure = run_case::<FaultyFixture<Sound>>("append::nothing").unwrap_err();
    assert_eq!(failure.to_string(), "append::nothing: there is no such case");
}
