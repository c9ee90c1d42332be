//! The cases, one group a file, and the one table of them all.

mod append;
mod asynchronous;
mod atomicity;
mod batches;
mod concurrency;
mod crash;
mod idempotency;
mod identities;
mod key_commits;
mod key_races;
mod keys;
mod limits;
mod random;
mod read;
mod rebuild;
mod records;
pub(crate) mod refusal;
mod replay;
mod time;
mod vault;

use crate::run::{Case, Need};

/// The table: each case with what it takes of a store and the numbers of the properties that it checks. `CASES` and
/// `suite!` are both made of it.
#[doc(hidden)]
#[macro_export]
macro_rules! __cases {
    ($callback:ident, $($argument:tt)*) => {
        $crate::$callback! {
            ($($argument)*)
            append {
                a_new_store_is_empty: events ["1", "46"];
                the_first_event_is_at_position_1: events ["2", "6"];
                an_event_reads_back_field_by_field: events ["2"];
                a_batch_keeps_its_input_order: events ["3"];
                a_commit_is_contiguous_among_racers: events ["4"];
                an_empty_batch_is_a_no_op: events ["5"];
                positions_are_dense_from_1: events ["6", "7"];
                a_failed_commit_leaves_no_gap: events ["8"];
                what_completed_before_has_the_lower_position: events ["9"];
                a_tailing_reader_sees_every_event_in_order: events ["10"];
                changed_returns_when_the_log_has_grown: events ["10"];
                an_event_id_is_in_a_log_once: events ["11"];
                an_event_twice_in_one_commit_is_invalid: events ["11"];
                logs_are_isolated: events ["12"];
                tenants_are_isolated: events ["12"];
            }
            concurrency {
                a_stale_revision_conflicts: records ["14"];
                a_conflict_reports_the_actual_revision: records ["15"];
                a_check_that_holds_lets_the_commit_pass: records ["29"];
                a_destroyed_record_is_not_there_for_a_check: records ["15", "29"];
                a_conflict_leaves_no_trace: records ["16"];
                of_n_racers_one_wins: records ["17"];
                disjoint_records_never_conflict: records ["18"];
                create_if_absent_has_one_winner: records ["19"];
                delete_and_recreate_defeats_aba: records ["20"];
                read_then_update_loses_no_increment: records ["21"];
                the_changes_of_a_commit_see_those_before: records ["25", "58"];
                a_commit_sees_those_before_in_its_batch: records ["30"];
            }
            identities {
                a_unique_identity_has_one_owner: records ["21a"];
                of_racing_takers_one_wins: records ["21a"];
                an_identity_is_free_once_released: records ["21a"];
                an_identity_is_free_once_its_record_is_destroyed: records ["21a"];
                two_records_swap_identities_in_one_commit: records ["21a", "25"];
                an_identity_moves_in_one_commit: records ["21a", "25"];
                an_identity_moves_within_a_batch: records ["21a", "30"];
                two_records_of_one_commit_cannot_take_the_same: records ["21a"];
                a_failed_commit_neither_takes_nor_releases: records ["16", "21a"];
                an_identity_is_of_its_log_resource_and_name: records ["12", "21a"];
                an_identity_that_was_read_is_checked: records ["29"];
                an_identity_twice_in_one_record_is_invalid: records ["21a"];
                any_text_is_an_identity: records ["45", "96"];
            }
            atomicity {
                every_change_has_its_event: records ["22"];
                a_failed_change_leaves_no_event: records ["23"];
                a_failed_event_undoes_the_change: records ["24"];
                a_commit_over_several_records_is_all_or_none: records ["25"];
                no_reader_sees_half_a_commit: records ["26"];
                the_log_folds_to_the_records: records ["27"];
                values_of_a_failed_commit_are_never_read: records ["28"];
                write_skew_is_prevented: records ["29"];
                a_failure_in_a_batch_stays_its_own: records ["30"];
                a_commit_without_changes_is_harmless: events ["31"];
                checks_hold_for_a_commit_without_changes: records ["29", "31"];
                checks_are_of_what_was_before_the_commit: records ["29"];
                a_write_can_come_without_an_event: records ["22", "58"];
                an_event_is_of_the_record_that_its_change_writes: records ["22"];
                a_store_behind_pointers_is_the_same: records ["2", "54"];
            }
            read {
                each_filter_equals_brute_force: events ["32"];
                filters_compose_as_and: events ["33"];
                the_limit_applies_after_the_filter: events ["34"];
                limit_zero_is_empty: events ["35"];
                backward_is_forward_reversed: events ["36"];
                after_is_exclusive_and_up_to_inclusive: events ["37"];
                an_inverted_range_is_empty: events ["38"];
                pages_concatenate_to_the_whole_at_any_size: events ["39", "40"];
                a_page_is_cut_to_the_stores_rows: events ["39", "40"];
                a_cursor_survives_appends: events ["41"];
                a_cursor_that_was_never_given_is_only_a_position: events ["43"];
                text_is_literal: events ["45"];
                an_unknown_log_reads_as_empty: events ["46"];
                a_dropped_stream_holds_nothing: events ["47"];
                count_is_the_length: events ["48"];
            }
            time {
                microseconds_round_trip: events ["49"];
                the_whole_range_round_trips: events ["50"];
                a_clock_that_goes_back_keeps_the_order: events ["44", "51"];
                time_filters_are_exact_at_the_boundary: events ["52"];
                a_moment_is_the_same_in_any_time_zone: events ["53"];
            }
            records {
                create_then_get_is_identity: records ["54"];
                a_duplicate_create_is_refused: records ["55"];
                an_update_of_a_missing_record_is_not_found: records ["56"];
                a_destroyed_record_is_gone: records ["57"];
                the_revision_goes_up_once_a_write: records ["58", "59"];
                each_expectation_is_as_documented: records ["55", "56"];
                null_missing_and_empty_differ: records ["60"];
                numbers_are_exact: records ["61"];
                the_order_of_keys_is_kept_and_means_nothing: records ["62"];
                get_answers_in_the_order_of_the_keys: records ["54"];
                list_sorts_by_the_bytes_of_the_id: records ["36", "44"];
                pages_of_records_concatenate_to_the_whole: records ["35", "39", "40"];
                a_random_list_equals_the_reference: records ["63"];
                a_cursor_survives_the_end_of_its_row: records ["41", "42"];
                a_forged_cursor_is_invalid: records ["43"];
                any_text_is_a_record_id: records ["45", "96"];
                resources_are_apart: records ["12", "32"];
            }
            replay {
                clear_removes_its_log_only: records ["64"];
                clear_leaves_the_events: records ["65"];
                a_cleared_log_is_rewound_to_0: records ["64"];
                clear_of_a_log_without_events_leaves_it_live: records ["64"];
                positions_are_never_reused: records ["66"];
                a_shadow_replay_rebuilds_the_same: records ["67", "68"];
                a_replay_in_place_rebuilds_the_same: records ["67", "68"];
                a_cleared_log_is_replayed: records ["65", "67"];
                a_replay_to_n_is_the_state_at_n: records ["69"];
                a_rewound_log_can_be_taken_as_it_is: records ["69"];
                a_log_is_taken_at_the_position_that_it_is_rewound_to_only: records ["69"];
                a_commit_that_fails_takes_no_log_as_it_is: records ["16", "30", "69"];
                a_rebuild_changes_no_event: records ["13", "71"];
                a_rebuild_of_one_log_leaves_the_others: records ["12", "64"];
                what_other_resources_hold_is_replayed: records ["67"];
            }
            rebuild {
                what_is_loaded_is_not_seen_before_the_end: records ["70"];
                loaded_gives_what_was_loaded: records ["67"];
                an_identity_may_change_hands_between_loads: records ["21a", "67"];
                commits_during_a_shadow_rebuild_are_in_the_result: records ["73a"];
                a_reader_sees_one_generation: records ["26", "70"];
                a_rebuild_in_place_refuses_reads_and_commits: records ["70"];
                a_broken_off_shadow_rebuild_leaves_the_old_state: records ["70"];
                a_broken_off_rebuild_in_place_waits_for_another: records ["70"];
                a_second_rebuild_of_a_log_is_refused: records ["70"];
                a_rebuild_ends_at_the_head_or_below: records ["69"];
                a_rebuild_takes_the_fence_of_its_log_only: records ["83"];
                a_rebuild_that_is_over_is_refused: records ["70"];
                a_fence_holds_commits_under_its_key: records ["83"];
                a_fence_frees_when_it_is_dropped_waiting_or_held: records ["84"];
            }
            limits {
                an_event_of_one_byte_more_is_too_large: events ["97"];
                metadata_of_one_byte_more_is_too_large: events ["97"];
                a_record_of_one_byte_more_is_too_large: records ["97"];
                a_commit_of_one_change_more_is_too_large: events ["97"];
                checks_count_as_changes: records ["97"];
                a_name_of_one_byte_more_is_too_large: records ["97"];
                the_largest_event_passes: events ["97"];
                the_largest_record_passes: records ["97"];
                a_commit_of_many_changes_passes: events ["4", "97"];
                the_longest_names_pass: events ["97"];
                the_longest_keys_of_records_pass: records ["97"];
                text_in_json_is_exact: events ["96"];
                nul_in_a_name_is_refused_by_name: records ["96"];
                a_batch_as_large_as_the_engine_makes_passes: events ["3", "97"];
            }
            idempotency {
                the_same_commit_again_gives_the_same_answer: events ["86"];
                a_repeated_commit_writes_no_record_again: records ["86"];
                a_repeated_commit_is_answered_in_any_state_of_the_log: records ["86"];
                a_known_id_with_other_content_is_refused: events ["87"];
                a_commit_that_is_known_in_part_is_refused: events ["87"];
                a_commit_twice_in_one_batch_has_one_effect: events ["86", "87"];
                racing_repetitions_have_one_effect: events ["86"];
                a_failed_commit_is_not_known: records ["86"];
                ids_of_any_kind_are_kept: events ["2"];
            }
            asynchronous {
                a_commit_dropped_at_any_poll_is_whole_or_absent: records ["98"];
                an_event_commit_dropped_at_any_poll_is_whole_or_absent: events ["98"];
                dropped_reads_leave_a_usable_store: events ["47", "98"];
                a_commit_dropped_while_it_waits_frees_the_lock: records ["84", "98"];
                a_clear_dropped_at_any_poll_is_all_or_none: records ["64", "98"];
                a_rebuild_dropped_at_any_poll_leaves_one_generation_whole: records ["70", "98"];
                a_hundred_callers_are_all_served: events ["99"];
                batches_over_several_keys_never_lock_up: events ["83", "99"];
                two_handles_agree: records ["100"];
                a_waiting_reader_is_woken_by_another_handle: events ["10", "100"];
            }
            keys {
                a_new_store_has_no_keys: keys ["1", "82b"];
                a_row_reads_back_byte_for_byte: keys ["74"];
                versions_and_epochs_are_exact: keys ["61", "74"];
                any_text_is_a_subject: keys ["45", "96"];
                the_largest_keys_pass: keys ["97"];
                keys_are_answered_in_the_order_of_the_question: keys ["74"];
                a_row_is_found_by_every_id_it_ever_had: keys ["80", "82b"];
                what_was_overwritten_is_read_nowhere: keys ["82"];
                pages_of_keys_concatenate_to_the_whole: keys ["35", "39", "40", "44"];
                a_page_of_keys_is_cut_to_the_stores_rows: keys ["39", "40"];
                a_walk_over_the_keys_goes_on_while_they_are_written: keys ["41", "81"];
                the_logs_with_keys_are_listed: keys ["12"];
                logs_have_keys_of_their_own: keys ["12"];
                clear_and_rebuilds_leave_the_keys: keys records ["65"];
                keys_are_written_in_any_state_of_the_log: keys records ["65", "82"];
                two_handles_agree_on_keys: keys ["100"];
                keys_are_there_after_reopening: keys ["88"];
            }
            key_commits {
                a_version_that_is_not_the_stored_one_is_refused: keys ["14", "16"];
                versions_may_jump: keys ["14"];
                a_guard_holds_at_its_epoch_only: keys ["8", "16", "82a"];
                keys_and_events_are_all_or_none: keys ["16", "25"];
                keys_and_records_are_all_or_none: keys records ["16", "25"];
                a_commit_sees_the_keys_of_those_before_in_its_batch: keys ["30"];
                a_commit_of_keys_only_answers_without_events: keys ["7"];
                a_commit_of_guards_only_leaves_nothing: keys ["31"];
                keys_twice_in_one_commit_are_invalid: keys ["16"];
                a_version_that_does_not_follow_is_invalid: keys ["16"];
                keys_of_one_byte_more_are_too_large: keys ["97"];
                one_key_more_than_a_commit_takes_is_too_large: keys ["97"];
                a_repeated_commit_is_answered_whatever_its_keys: keys ["86"];
            }
            key_races {
                no_reader_sees_half_a_commit_of_keys: keys ["26", "28"];
                of_racing_creators_one_wins: keys ["17", "19"];
                an_append_that_races_a_shred_lands_before_it_or_not_at_all: keys ["82a"];
                a_rewrap_does_not_disturb_appends: keys ["80", "81"];
                a_rewrap_that_races_a_shred_brings_nothing_back: keys ["81", "82"];
                a_commit_with_keys_dropped_at_any_poll_is_whole_or_absent: keys ["98"];
                a_fence_holds_commits_of_keys: keys records ["83", "84"];
            }
            crash {
                what_was_answered_is_there_after_reopening: events ["88", "91"];
                ids_are_known_after_reopening: events ["86", "88"];
                records_are_there_after_reopening: records ["88"];
                the_state_of_a_log_is_there_after_reopening: records ["88"];
                an_unfinished_shadow_rebuild_is_gone_after_reopening: records ["70"];
                an_unfinished_rebuild_in_place_is_known_after_reopening: records ["70"];
            }
            vault {
                a_secret_round_trips: records ["74"];
                no_secret_is_in_what_a_store_keeps_nor_in_what_is_shown: records ["75"];
                equal_plaintexts_give_different_ciphertexts: records ["76"];
                a_flipped_bit_of_a_section_is_refused: records ["77"];
                a_changed_character_of_a_sealed_attribute_is_refused: records ["77"];
                a_section_that_was_moved_is_refused: records ["78"];
                a_sealed_attribute_that_was_moved_is_refused: records ["78"];
                a_wrapped_key_that_was_moved_is_refused: records ["78"];
                a_wrong_key_and_a_missing_one_are_told_apart_from_tampering: records ["79"];
                rotated_keys_keep_secrets_readable: records ["80"];
                a_rewrap_that_was_broken_off_goes_on: records ["81"];
                a_forgotten_subject_is_unreadable_and_all_others_are_not: records ["82"];
                a_destroyed_key_is_not_brought_back: records ["81", "82"];
                clear_and_replay_leave_keys_alone: records ["64", "67", "82"];
                a_forget_is_there_after_reopening: records ["82", "88"];
                nothing_is_sealed_by_a_key_that_another_handle_destroyed: records ["82a"];
                an_update_that_races_a_forget_lands_before_it_or_is_refused: records ["82a"];
                a_missing_key_is_never_read_as_a_destroyed_one: records ["82b"];
            }
            batches {
                random_batches_equal_the_model: records ["3", "11", "14", "20", "21a", "27", "30", "32", "58", "86"];
            }
            random {
                random_sequences_equal_the_model: records ["14", "25", "27", "30", "32", "63", "64", "67", "86"];
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __list {
    (() $($group:ident { $($name:ident: $($need:ident)+ [$($property:literal),+];)+ })+) => {
        /// Every case of the suite.
        pub const CASES: &[Case] = &[$($(Case {
            group: stringify!($group),
            name: stringify!($name),
            properties: &[$($property),+],
            needs: &[$($crate::__need!($need)),+],
            body: |backend| Box::pin($group::$name(backend)),
        },)+)+];
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __need {
    (events) => {
        Need::Events
    };
    (records) => {
        Need::Records
    };
    (keys) => {
        Need::Keys
    };
}

crate::__cases! { __list, }
