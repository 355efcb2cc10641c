"""Every trap and every case that grading must withstand: what must come of it, and the tests that hold it.

`"box::test_x"` is the test `test_x` in `test_box.py`. `test_cases.py` wants each of these tests to exist, and each case
to be proven able to fail: by a weakened box that its test meets in `test_box.py`, or by a weakening in `weaken.py`.
"""

TRAPS = {
    "1 root outside the box": (
        "the uid is dropped before bubblewrap starts; only what the runner needs is mounted",
        "box::test_1_root_is_given_up_outside_too",
        "box::test_the_escapes_find_what_is_missing_in_a_weakened_box",
    ),
    "2 the grader's environment in process 1": (
        "bubblewrap starts with an empty environment",
        "box::test_2_the_grader_s_environment_is_nowhere",
        "box::test_a_box_holds_against_all_escapes",
    ),
    "3 a fork bomb starves the next student": (
        "tasks are counted inside, for each box alone",
        "box::test_3_a_fork_bomb_does_not_starve_the_neighbour",
        "box::test_3_a_fork_bomb_is_bounded",
        "box::test_3_a_thread_bomb_is_bounded",
    ),
    "4 memory that can be written to as files": (
        "read-only but for /tmp, which is bounded in bytes and files",
        "box::test_4_only_tmp_can_be_written_to",
        "box::test_4_tmp_is_bounded",
        "box::test_4_so_is_the_number_of_files_in_it",
    ),
    "5 memory of many processes": (
        "bounded for each, and for all together",
        "box::test_5_memory_of_one_process_is_bounded",
        "box::test_5_memory_of_many_processes_is_bounded_by_the_watch",
        "box::test_5_memory_of_many_processes_is_bounded_by_the_kernel_where_there_are_control_groups",
        "box::test_5_what_processes_share_counts_once",
        "box::test_5_peak_memory_is_what_the_program_took",
    ),
    "6 references among what is mounted": (
        "neither in the box's own files nor where the course is installed",
        "box::test_6_the_references_are_not_on_the_box_s_disk",
        "box::test_6_nor_where_the_course_is_installed",
    ),
    "7 zombies": (
        "none, also where process 1 does not reap, and nothing survives the grader",
        "box::test_7_no_process_and_no_zombie_is_left",
        "box::test_7_the_check_sees_a_zombie",
        "box::test_7_nothing_survives_the_grader",
    ),
    "8 output fills the grader's memory": (
        "capped while it streams",
        "box::test_8_output_is_capped_while_it_streams",
    ),
    "9 a global statement fails": (
        "the definitions after it are graded",
        "box::test_9_a_failing_statement_does_not_lose_the_definitions_after_it",
        "extract::test_a_failing_statement_does_not_take_others_along",
    ),
    "packages below the temporary directory": (
        "graded, in fresh boxes",
        "box::test_packages_below_the_system_s_temporary_directory_are_seen",
    ),
    "boxes forked from one parent": (
        "the parent is fit to be one, and replaced; its children have no privileges; where none can be had, fresh boxes do",
        "forked::test_no_process_of_a_box_has_privileges",
        "forked::test_a_parent_is_replaced_now_and_then_and_none_is_left",
        "forked::test_a_dead_parent_is_replaced",
        "forked::test_a_parent_with_a_second_thread_or_memory_that_it_would_share_forks_nothing",
        "forked::test_where_no_box_can_be_forked_fresh_ones_do_and_it_is_said",
        "forked::test_a_forked_box_that_is_not_tight_is_not_used",
        "forked::test_fresh_boxes_can_be_asked_for",
    ),
    "10 no box can be made": (
        "the remedy is said, by the doctor too, and nothing is graded without a box",
        "box::test_10_the_doctor_says_so_with_the_remedy",
        "box::test_10_without_bubblewrap_nothing_runs",
        "box::test_10_where_namespaces_are_forbidden_nothing_runs",
        "box::test_10_without_a_filter_of_system_calls_nothing_runs",
        "box::test_a_leaky_box_is_not_graded_in",
        "box::test_10_a_box_in_which_the_grader_s_program_does_not_run_is_not_graded_in",
        "cluster::test_a_worker_that_cannot_make_boxes_is_refused",
    ),
}

FILES = {
    "not JSON, empty, truncated": (
        "unreadable, 0 points with the reason; neighbours unaffected",
        "submissions::test_what_is_no_notebook_is_unreadable_with_the_reason_and_its_neighbour_is_not",
        "grader::test_every_submission_has_one_result_with_the_agreed_fields",
    ),
    "JSON that is no notebook": (
        "the same",
        "submissions::test_what_is_no_notebook_is_unreadable_with_the_reason_and_its_neighbour_is_not",
    ),
    "symlink": (
        "refused, also where it takes a listed file's place later; a linked folder is not entered",
        "submissions::test_links_pipes_devices_and_folders_are_refused_without_waiting",
        "submissions::test_a_linked_folder_is_not_entered",
        "submissions::test_a_file_replaced_by_a_link_after_it_was_listed_is_refused",
        "submissions::test_a_folder_replaced_by_a_link_after_it_was_listed_is_refused",
    ),
    "hard link": (
        "refused",
        "submissions::test_links_pipes_devices_and_folders_are_refused_without_waiting",
    ),
    "fifo, device, directory": (
        "refused without blocking",
        "submissions::test_links_pipes_devices_and_folders_are_refused_without_waiting",
    ),
    "a name that claims another student": (
        "the first number in it decides, which the LMS has written",
        "submissions::test_names_tell_the_student_and_a_file_name_cannot_claim_another",
    ),
    "folders nested too deeply, or closed": (
        "named, and nobody else's trouble",
        "submissions::test_folders_that_one_student_nested_too_deeply_are_named_and_cost_nobody_else_anything",
        "submissions::test_a_folder_that_cannot_be_opened_is_named_and_costs_nobody_else_anything",
    ),
    "odd and unicode names": (
        "graded, and shown safely",
        "submissions::test_odd_names_are_graded_and_shown_safely",
        "cohort::test_feedback_files_are_never_the_same_and_have_plain_names",
        "submissions::test_names_in_a_zip_from_a_mac_are_read_as_they_are_meant",
        "submissions::test_names_that_take_long_to_bring_into_normal_form_are_cut_first",
    ),
    "../ names": (
        "refused in a zip; nothing is ever written outside of OUT",
        "submissions::test_zip_slips_links_bombs_and_encryption_are_refused_and_the_neighbour_is_not",
        "reports::test_all_reports_are_written_and_linked",
    ),
    "zip bomb": (
        "refused, also if it lies about its size or its table of contents is the bomb",
        "submissions::test_zip_slips_links_bombs_and_encryption_are_refused_and_the_neighbour_is_not",
        "submissions::test_a_zip_member_that_lies_about_its_size_is_unreadable",
        "submissions::test_a_zip_with_a_huge_table_of_contents_is_refused_before_it_is_read",
    ),
    "zip-slip, symlink in zip": (
        "refused; nothing is unpacked",
        "submissions::test_zip_slips_links_bombs_and_encryption_are_refused_and_the_neighbour_is_not",
    ),
    "5 GB file": (
        "not read; one that grows meanwhile is read up to the cap",
        "submissions::test_a_sparse_file_of_five_gigabytes_is_not_read",
        "submissions::test_a_file_that_grows_while_it_is_read_is_capped",
    ),
    "JSON nested a million deep": (
        "unreadable",
        "submissions::test_what_is_no_notebook_is_unreadable_with_the_reason_and_its_neighbour_is_not",
    ),
    "metadata stripped, points changed, cells added, moved, deleted or duplicated": (
        "no effect",
        "attacks::test_what_was_done_to_the_rest_of_the_notebook_changes_no_point",
    ),
    "an exercise defined twice": (
        "the last definition counts, with a note",
        "attacks::test_the_last_definition_counts_with_a_note",
        "extract::test_the_last_definition_counts_with_a_note",
    ),
    "magics, failing imports": (
        "the rest is graded",
        "extract::test_magics_are_cut_out",
        "extract::test_a_failing_statement_does_not_take_others_along",
        "box::test_9_a_failing_statement_does_not_lose_the_definitions_after_it",
    ),
    "right in the notebook, written in another way": (
        "right here too: prompts, hints, loops, conditions, tables that are filled, a second attempt lower down",
        "extract::test_prompts_that_were_copied_along_are_taken_off",
        "extract::test_an_exercise_s_name_means_its_last_function_for_its_callers_too",
        "extract::test_hints_of_packages_that_are_missing_do_not_matter",
        "extract::test_a_function_that_does_not_come_to_be_does_not_hide_the_one_that_does",
        "extract::test_the_module_is_main_as_in_a_notebook",
        "extract::test_a_function_in_a_loop_is_found",
        "extract::test_what_a_function_misses_is_run_with_the_whole_notebook",
        "checker::test_what_the_saved_notebook_shows_as_right_is_never_a_final_0",
        "checker::test_an_error_for_want_of_a_package_is_for_a_person",
    ),
    "a notebook of another lesson": (
        "needs_review, and the lesson is named",
        "checker::test_a_notebook_of_another_lesson_waits_for_a_person",
    ),
    "syntax error in one cell": (
        "only that exercise is lost",
        "serve::test_a_syntax_error_is_told_with_its_line",
        "extract::test_a_cell_that_cannot_be_read_is_lost_alone_and_soon",
    ),
    "thousands of ?, very deep expressions": (
        "bounded",
        "extract::test_a_cell_that_cannot_be_read_is_lost_alone_and_soon",
        "extract::test_code_beyond_the_limit_is_not_looked_at",
        "submissions::test_much_code_is_bounded_and_damaged_cells_are_left_out_with_a_note",
    ),
}

BEHAVIOUR = {
    "endless loop, sleep, signals ignored": (
        "time limit, and the process is gone",
        "box::test_time_is_bounded_whatever_the_program_ignores",
        "box::test_processor_time_of_all_processes_together_is_bounded",
        "box::test_processor_time_of_children_that_nobody_waits_for_counts_where_there_are_control_groups",
        "cgroup::test_one_processor_is_for_a_group_where_there_is_a_controller_for_that",
        "attacks::test_a_function_that_never_ends_costs_its_exercise_and_leaves_no_process",
        "serve::test_an_endless_loop_ends_and_the_next_exercise_goes_on",
        "checker::test_a_call_that_sleeps_is_not_waited_for_twice_in_one_box",
    ),
    "judging that does not end": (
        "given up, for a person",
        "checker::test_judging_has_a_deadline",
    ),
    "answers that dribble in": (
        "the boxes of a submission have a time limit together",
        "checker::test_a_submission_does_not_hold_the_grader_for_each_of_its_exercises_anew",
    ),
    "sys.exit, os._exit, segfault": (
        "that exercise only",
        "attacks::test_whoever_ends_the_process_loses_that_exercise_only",
        "box::test_why_tells_how_it_ended",
        "checker::test_a_box_that_dies_costs_that_exercise_only",
    ),
    "kill(-1)": (
        "own box only",
        "box::test_kill_everybody_reaches_the_own_box_only",
        "box::test_kill_everybody_does_reach_everybody_in_a_box",
    ),
    "fork bomb": (
        "bounded, neighbours unaffected",
        "box::test_3_a_fork_bomb_is_bounded",
        "box::test_3_a_fork_bomb_does_not_starve_the_neighbour",
    ),
    "thread bomb": (
        "bounded",
        "box::test_3_a_thread_bomb_is_bounded",
    ),
    "memory bomb in one process": (
        "bounded",
        "box::test_5_memory_of_one_process_is_bounded",
    ),
    "memory bomb in many processes": (
        "bounded",
        "box::test_5_memory_of_many_processes_is_bounded_by_the_watch",
        "box::test_5_memory_of_many_processes_is_bounded_by_the_kernel_where_there_are_control_groups",
    ),
    "tmpfs, disk fill": (
        "bounded",
        "box::test_4_tmp_is_bounded",
        "box::test_4_only_tmp_can_be_written_to",
    ),
    "memfd and other memory that no limit counts": (
        "refused",
        "box::test_memory_that_nobody_counts_is_refused",
    ),
    "huge output": (
        "capped",
        "box::test_8_output_is_capped_while_it_streams",
        "serve::test_floods_of_output_never_reach_the_protocol",
    ),
    "endless output": (
        "capped, and the time limit",
        "box::test_8_endless_output_ends_at_the_time_limit",
    ),
    "daemons: double fork, setsid": (
        "die with the box",
        "box::test_daemons_die_with_the_box",
        "box::test_daemons_outlive_a_box_without_processes_of_its_own",
    ),
    "global torch state: default dtype, seed, threads, grad mode": (
        "no effect on the next exercise",
        "serve::test_global_state_does_not_reach_the_next_exercise",
    ),
    "what a failing exercise leaves behind": (
        "the next one gets a fresh box",
        "checker::test_what_a_failing_exercise_leaves_behind_does_not_cost_the_next_one",
        "checker::test_a_death_in_a_used_box_is_believed_only_if_a_fresh_one_dies_too",
    ),
}

FORGING = {
    "patched torch.allclose, __eq__, builtins, import hooks": (
        "no effect",
        "attacks::test_what_fools_a_comparison_in_the_same_process_fools_no_grader",
        "wire::test_anything_else_arrives_as_the_name_of_its_type",
    ),
    "Tensor subclass": (
        "wrong",
        "checker::test_a_result_of_another_kind_is_wrong_though_its_numbers_are_right",
        "wire::test_anything_else_arrives_as_the_name_of_its_type",
    ),
    "NaN": (
        "wrong where another value is expected",
        "checker::test_what_is_not_finite_is_wrong_but_where_the_reference_is_not",
    ),
    "inf": (
        "right exactly where the reference has it, with its sign",
        "checker::test_what_is_not_finite_is_wrong_but_where_the_reference_is_not",
    ),
    "dtype, broadcastable shape": (
        "wrong unless both are the reference's",
        "checker::test_a_result_of_another_kind_is_wrong_though_its_numbers_are_right",
        "checker::test_the_form_of_a_right_result_may_differ_where_it_does_not_matter",
    ),
    "a result far too large": (
        "wrong, and nothing outside computes with it",
        "checker::test_a_result_that_is_far_too_large_is_not_computed_with",
    ),
    "fake frames": (
        "refused, and no points",
        "attacks::test_frames_that_the_code_sends_itself_win_nothing",
        "checker::test_a_forged_observation_wins_nothing",
        "checker::test_two_frames_for_one_trial_win_nothing",
        "checker::test_right_on_too_few_trials_is_not_right",
        "frames::test_hostile_frames_are_refused",
        "wire::test_hostile_observations_are_refused",
    ),
    "4 GB length": (
        "refused before anything is read",
        "frames::test_a_length_of_4_gb_is_refused_before_anything_is_read",
        "attacks::test_frames_that_the_code_sends_itself_win_nothing",
    ),
    "dribbled bytes": (
        "do not move the deadline",
        "frames::test_dribbled_bytes_do_not_move_the_deadline",
        "attacks::test_frames_that_the_code_sends_itself_win_nothing",
    ),
    "safetensors bomb": (
        "refused before memory is taken",
        "frames::test_hostile_frames_are_refused",
        "frames::test_memory_for_a_hostile_frame_is_bounded",
    ),
    "pickle bytes": (
        "refused, and never unpickled",
        "frames::test_hostile_frames_are_refused",
        "attacks::test_frames_that_the_code_sends_itself_win_nothing",
    ),
    "walking frames, gc or the disk for the reference or the expected values": (
        "nothing there",
        "attacks::test_nothing_in_the_process_tells_the_reference_or_the_right_result",
        "box::test_6_the_references_are_not_on_the_box_s_disk",
        "grader::test_in_real_boxes_a_right_answer_wins_and_one_that_looks_around_finds_nothing",
    ),
    "/proc/1/environ": (
        "nothing",
        "box::test_2_the_grader_s_environment_is_nowhere",
    ),
    "inherited file descriptors": (
        "nothing but the two pipes",
        "box::test_no_open_file_of_the_grader_is_inherited",
        "box::test_a_box_holds_against_all_escapes",
    ),
    "inputs memorised between runs": (
        "no gain: nothing stays, and each student, exercise and trial has its own inputs",
        "box::test_what_a_box_writes_is_not_there_in_the_next",
        "checker::test_two_students_get_other_inputs_and_no_trial_tells_the_seed_of_the_others",
        "checker::test_seeds_differ_by_student_exercise_trial_and_secret_and_fill_63_bits",
        "definitions::test_each_case_is_made_from_a_seed_of_its_own",
        "attacks::test_results_kept_from_an_earlier_run_win_nothing",
    ),
    "hidden inputs in messages": (
        "no number and no word of the box is told",
        "checker::test_no_word_and_no_number_of_the_box_reaches_the_student",
        "checker::test_a_line_is_shown_only_if_it_stands_in_the_notebook",
        "checker::test_which_line_raises_tells_nothing_about_hidden_inputs",
    ),
    "in-place change of inputs": (
        "no gain, and wrong even with the right result",
        "checker::test_changing_the_inputs_in_place_wins_nothing",
        "serve::test_changed_inputs_are_the_box_s_own_copies",
    ),
    "a call of another exercise that failed": (
        "needs_review: in the notebook the reference stood in for it",
        "checker::test_an_exercise_that_calls_one_that_failed_is_for_a_person",
    ),
    "a forbidden library function": (
        "needs_review",
        "checker::test_a_right_answer_by_a_forbidden_call_is_left_to_a_person_and_a_wrong_one_is_just_wrong",
        "checker::test_a_forbidden_operator_is_seen_under_whatever_name_it_is_called",
    ),
    "HTML in names or messages": (
        "escaped",
        "pages::test_no_text_becomes_markup_on_a_page",
        "pages::test_no_field_of_a_result_reaches_a_page_as_it_is",
    ),
    "CSV formula": (
        "no cell begins like one",
        "books::test_no_cell_is_a_formula_whatever_separates_the_columns",
    ),
    "ANSI and other control characters": (
        "replaced",
        "pages::test_no_text_becomes_markup_on_a_page",
        "books::test_terminal_codes_do_not_reach_gradescope",
        "submissions::test_names_that_would_move_a_terminal_or_turn_text_around_are_made_plain",
        "grading_progress::test_the_table_shows_counts_and_takes_file_names_for_what_they_are",
    ),
}

ENGINE = {
    "worker killed": (
        "nothing lost; a submission that kills every worker is quarantined",
        "grader::test_a_worker_that_dies_half_way_loses_nothing",
        "grader::test_a_submission_that_kills_every_worker_is_quarantined_and_no_other_suffers",
        "grader::test_a_result_that_dies_with_its_worker_before_it_is_here_is_made_again",
        "cluster::test_a_worker_that_dies_half_way_loses_nothing",
        "cluster::test_under_another_schedulers_rules_too_only_the_deadly_submission_is_quarantined",
    ),
    "a result file that was edited": (
        "not believed: graded again",
        "grader::test_a_result_that_somebody_has_edited_is_not_believed",
    ),
    "machine restarted": (
        "the next run goes on; results are whole or absent",
        "cluster::test_a_grader_that_is_killed_leaves_no_process_and_whole_files_and_another_cluster_goes_on",
        "grader::test_a_second_run_resumes_and_starts_no_worker",
    ),
    "disk full": (
        "results are whole or absent, and the next run goes on",
        "grader::test_a_full_disk_leaves_no_half_file_and_the_run_goes_on_later",
        "store::test_a_result_that_the_system_really_refuses_to_write_leaves_no_half_file",
    ),
    "slow node": (
        "retried, and never 0",
        "checker::test_no_box_or_a_busy_machine_is_nobodys_fault",
        "checker::test_a_first_try_that_the_machine_slowed_down_costs_nothing",
        "checker::test_a_time_out_without_processor_time_is_the_machine_s_and_not_a_result",
        "checker::test_what_a_first_call_imports_does_not_count",
        "box::test_time_counts_in_which_a_box_sleeps_or_computes_but_not_that_in_which_others_had_the_processors",
        "attacks::test_on_a_busy_machine_a_slow_right_answer_is_as_right_as_alone",
        "box::test_4_nor_are_this_machine_s_files_counted_while_a_box_is_being_made",
        "checker::test_a_machine_that_stands_still_while_the_reference_runs_costs_nobody_a_point",
        "grader::test_the_machines_fault_is_tried_again_and_never_a_result",
        "books::test_an_open_submission_has_no_grade_rather_than_zero",
    ),
    "same submission twice": (
        "each file is graded and noted; the grade stays open if their points differ",
        "submissions::test_several_files_of_one_student_are_each_graded_and_noted",
        "cohort::test_two_files_of_a_student_need_the_same_points",
    ),
    "late": (
        "as the manifest says, noted",
        "submissions::test_the_manifest_decides_identity_and_lateness",
    ),
    "unknown student": (
        "graded, noted and nobody's; students without a file are listed",
        "submissions::test_the_manifest_decides_identity_and_lateness",
        "submissions::test_a_file_that_the_manifest_does_not_name_is_nobody_s_whatever_it_is_called",
        "grader::test_students_who_handed_in_nothing_and_files_that_are_no_notebooks_are_reported",
    ),
    "exported from Gradescope": (
        "its list names the students; a list of that name that a student hands in names nobody",
        "submissions::test_gradescopes_own_list_tells_who_handed_in_what",
        "submissions::test_a_list_of_gradescopes_form_is_not_believed_among_moodles_folders",
        "submissions::test_a_list_that_a_student_hands_in_makes_nobody_somebody_else",
    ),
    "regrade elsewhere": (
        "the same points",
        "grader::test_the_same_secret_gives_the_same_points_elsewhere",
        "cluster::test_the_same_secret_gives_the_same_points_elsewhere_and_another_secret_others",
        "checker::test_seeds_do_not_depend_on_the_process",
        "checker::test_the_same_submission_gets_the_same_result_twice",
    ),
}

GROUPS = {"Traps": TRAPS, "File": FILES, "Behaviour": BEHAVIOUR, "Forging": FORGING, "Engine": ENGINE}
CASES = {name: case for cases in GROUPS.values() for name, case in cases.items()}
