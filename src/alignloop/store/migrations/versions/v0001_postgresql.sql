CREATE TABLE authors (
    id BIGSERIAL NOT NULL,
    key TEXT NOT NULL,
    split TEXT NOT NULL,
    CONSTRAINT pk_authors PRIMARY KEY (id),
    CONSTRAINT uq_authors_id_split UNIQUE (id, split),
    CONSTRAINT ck_authors_split CHECK (split in ('train', 'valid', 'test')),
    CONSTRAINT uq_authors_key UNIQUE (key)
);

CREATE TABLE chain (
    id INTEGER NOT NULL,
    seq BIGINT NOT NULL,
    sha256 BYTEA NOT NULL,
    CONSTRAINT pk_chain PRIMARY KEY (id),
    CONSTRAINT ck_chain_one_row CHECK (id = 1)
);

CREATE TABLE erasing (
    prompt_id BIGINT NOT NULL,
    CONSTRAINT pk_erasing PRIMARY KEY (prompt_id)
);

CREATE TABLE events (
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    verb TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous_sha256 BYTEA NOT NULL,
    sha256 BYTEA NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (seq)
);

CREATE TABLE flag_sets (
    id BIGSERIAL NOT NULL,
    name TEXT NOT NULL,
    CONSTRAINT pk_flag_sets PRIMARY KEY (id),
    CONSTRAINT uq_flag_sets_name UNIQUE (name)
);

CREATE TABLE guidelines (
    id BIGSERIAL NOT NULL,
    purpose TEXT NOT NULL,
    version INTEGER NOT NULL,
    locale TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_guidelines PRIMARY KEY (id),
    CONSTRAINT uq_guidelines_purpose_version_locale UNIQUE (purpose, version, locale),
    CONSTRAINT ck_guidelines_purpose CHECK (purpose in ('training', 'evaluation'))
);

CREATE TABLE imports (
    id BIGSERIAL NOT NULL,
    file TEXT NOT NULL,
    sha256 BYTEA NOT NULL,
    shape TEXT NOT NULL,
    counts JSON NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_imports PRIMARY KEY (id),
    CONSTRAINT uq_imports_sha256 UNIQUE (sha256)
);

CREATE TABLE login_attempts (
    id BIGSERIAL NOT NULL,
    who TEXT NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT pk_login_attempts PRIMARY KEY (id)
);

CREATE INDEX ix_login_attempts_who_at ON login_attempts (who, at);

CREATE TABLE policies (
    id BIGSERIAL NOT NULL,
    public_id TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    sampling TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_policies PRIMARY KEY (id),
    CONSTRAINT uq_policies_sha256_sampling_name UNIQUE (sha256, sampling, name),
    CONSTRAINT uq_policies_public_id UNIQUE (public_id)
);

CREATE TABLE settings (
    key TEXT NOT NULL,
    value JSON NOT NULL,
    CONSTRAINT pk_settings PRIMARY KEY (key)
);

CREATE TABLE users (
    id BIGSERIAL NOT NULL,
    public_id TEXT NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    password_hash TEXT,
    role TEXT NOT NULL,
    cohort TEXT NOT NULL,
    state TEXT NOT NULL,
    standing TEXT NOT NULL,
    locale TEXT DEFAULT 'en' NOT NULL,
    topics JSON NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT ck_users_role CHECK (role in ('labeler', 'researcher', 'visitor')),
    CONSTRAINT ck_users_cohort CHECK (cohort in ('training', 'heldout', 'users', 'none')),
    CONSTRAINT ck_users_state CHECK (state in ('invited', 'active', 'suspended')),
    CONSTRAINT ck_users_standing CHECK (standing in ('pending', 'qualified', 'declined')),
    CONSTRAINT ck_users_labelers_have_a_cohort CHECK ((role = 'researcher') = (cohort = 'none')),
    CONSTRAINT ck_users_users_are_a_cohort CHECK ((role = 'visitor') = (cohort = 'users')),
    CONSTRAINT ck_users_email_is_lower CHECK (email = lower(email)),
    CONSTRAINT uq_users_public_id UNIQUE (public_id),
    CONSTRAINT uq_users_email UNIQUE (email)
);

CREATE TABLE acknowledgements (
    user_id BIGINT NOT NULL,
    guideline_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT pk_acknowledgements PRIMARY KEY (user_id, guideline_id),
    CONSTRAINT fk_acknowledgements_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_acknowledgements_guideline_id FOREIGN KEY(guideline_id) REFERENCES guidelines (id) ON DELETE RESTRICT
);

CREATE TABLE campaigns (
    id BIGSERIAL NOT NULL,
    public_id TEXT NOT NULL,
    name TEXT NOT NULL,
    form TEXT NOT NULL,
    purpose TEXT NOT NULL,
    cohort TEXT NOT NULL,
    state TEXT NOT NULL,
    k_min INTEGER NOT NULL,
    k_max INTEGER NOT NULL,
    overlap INTEGER NOT NULL,
    lease_ms BIGINT NOT NULL,
    gold_every INTEGER,
    asks_ratings BOOLEAN NOT NULL,
    flag_set_id BIGINT,
    guideline_version INTEGER NOT NULL,
    price_per_hour INTEGER,
    currency TEXT NOT NULL,
    dialogue BOOLEAN NOT NULL,
    planned INTEGER,
    seed BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    frozen_at BIGINT,
    closed_at BIGINT,
    CONSTRAINT pk_campaigns PRIMARY KEY (id),
    CONSTRAINT uq_campaigns_id_form UNIQUE (id, form),
    CONSTRAINT ck_campaigns_form CHECK (form in ('demonstrate', 'write', 'rank', 'compare', 'toxicity')),
    CONSTRAINT ck_campaigns_purpose CHECK (purpose in ('training', 'evaluation', 'screening', 'practice')),
    CONSTRAINT ck_campaigns_cohort CHECK (cohort in ('training', 'heldout', 'users', 'any')),
    CONSTRAINT ck_campaigns_state CHECK (state in ('draft', 'open', 'closed')),
    CONSTRAINT ck_campaigns_k CHECK (k_min >= 1 and k_min <= k_max and k_max <= 9),
    CONSTRAINT ck_campaigns_k_of_rankings CHECK (form <> 'rank' or k_min >= 2),
    CONSTRAINT ck_campaigns_k_of_comparisons CHECK (form <> 'compare' or (k_min = 2 and k_max = 2)),
    CONSTRAINT ck_campaigns_overlap CHECK (overlap >= 1),
    CONSTRAINT ck_campaigns_lease_ms CHECK (lease_ms > 0),
    CONSTRAINT ck_campaigns_gold_every CHECK (gold_every >= 2),
    CONSTRAINT ck_campaigns_training_is_by_training_labelers CHECK (purpose <> 'training' or cohort in ('training', 'users')),
    CONSTRAINT ck_campaigns_votes_train_nothing CHECK ((form in ('compare', 'toxicity')) <= (purpose <> 'training')),
    CONSTRAINT uq_campaigns_public_id UNIQUE (public_id),
    CONSTRAINT uq_campaigns_name UNIQUE (name),
    CONSTRAINT fk_campaigns_flag_set_id FOREIGN KEY(flag_set_id) REFERENCES flag_sets (id) ON DELETE RESTRICT
);

CREATE TABLE exports (
    id BIGSERIAL NOT NULL,
    public_id TEXT NOT NULL,
    name TEXT NOT NULL,
    query JSON NOT NULL,
    counts JSON NOT NULL,
    rows_sha256 TEXT NOT NULL,
    files_sha256 JSON NOT NULL,
    code_version TEXT NOT NULL,
    by_id BIGINT,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_exports PRIMARY KEY (id),
    CONSTRAINT uq_exports_public_id UNIQUE (public_id),
    CONSTRAINT fk_exports_by_id FOREIGN KEY(by_id) REFERENCES users (id) ON DELETE RESTRICT
);

CREATE TABLE flags (
    flag_set_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    position INTEGER NOT NULL,
    CONSTRAINT pk_flags PRIMARY KEY (flag_set_id, key),
    CONSTRAINT uq_flags_flag_set_id_position UNIQUE (flag_set_id, position),
    CONSTRAINT fk_flags_flag_set_id FOREIGN KEY(flag_set_id) REFERENCES flag_sets (id) ON DELETE RESTRICT
);

CREATE TABLE invitations (
    token_sha256 BYTEA NOT NULL,
    user_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    CONSTRAINT pk_invitations PRIMARY KEY (token_sha256),
    CONSTRAINT fk_invitations_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE RESTRICT
);

CREATE TABLE messages (
    id BIGSERIAL NOT NULL,
    public_id TEXT NOT NULL,
    labeler_id BIGINT NOT NULL,
    author_id BIGINT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    read_at BIGINT,
    CONSTRAINT pk_messages PRIMARY KEY (id),
    CONSTRAINT uq_messages_public_id UNIQUE (public_id),
    CONSTRAINT fk_messages_labeler_id FOREIGN KEY(labeler_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_messages_author_id FOREIGN KEY(author_id) REFERENCES users (id) ON DELETE RESTRICT
);

CREATE INDEX ix_messages_labeler_id_created_at ON messages (labeler_id, created_at);

CREATE TABLE prompts (
    id BIGSERIAL NOT NULL,
    public_id TEXT NOT NULL,
    author_id BIGINT NOT NULL,
    split TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    history JSON NOT NULL,
    examples JSON NOT NULL,
    use_case TEXT NOT NULL,
    language TEXT NOT NULL,
    annotations JSON NOT NULL,
    details JSON NOT NULL,
    tokens INTEGER NOT NULL,
    consent BOOLEAN,
    counted_for TEXT NOT NULL,
    pii JSON NOT NULL,
    text_digest BYTEA NOT NULL,
    prefix_digest BYTEA,
    import_id BIGINT,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_prompts PRIMARY KEY (id),
    CONSTRAINT fk_prompts_author_split FOREIGN KEY(author_id, split) REFERENCES authors (id, split),
    CONSTRAINT uq_prompts_id_split UNIQUE (id, split),
    CONSTRAINT ck_prompts_kind CHECK (kind in ('labeler_plain', 'labeler_fewshot', 'labeler_user_based', 'customer')),
    CONSTRAINT ck_prompts_text_is_not_empty CHECK (length(text) > 0),
    CONSTRAINT uq_prompts_public_id UNIQUE (public_id),
    CONSTRAINT fk_prompts_author_id FOREIGN KEY(author_id) REFERENCES authors (id) ON DELETE RESTRICT,
    CONSTRAINT uq_prompts_text_digest UNIQUE (text_digest),
    CONSTRAINT fk_prompts_import_id FOREIGN KEY(import_id) REFERENCES imports (id) ON DELETE RESTRICT
);

CREATE INDEX ix_prompts_author_id ON prompts (author_id);

CREATE INDEX ix_prompts_split_kind ON prompts (split, kind);

CREATE TABLE screenings (
    id BIGSERIAL NOT NULL,
    user_id BIGINT NOT NULL,
    decided_by_id BIGINT NOT NULL,
    measures JSON NOT NULL,
    decision TEXT NOT NULL,
    note TEXT NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT pk_screenings PRIMARY KEY (id),
    CONSTRAINT ck_screenings_decision CHECK (decision in ('qualified', 'declined', 'pending')),
    CONSTRAINT fk_screenings_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_screenings_decided_by_id FOREIGN KEY(decided_by_id) REFERENCES users (id) ON DELETE RESTRICT
);

CREATE TABLE sessions (
    token_sha256 BYTEA NOT NULL,
    user_id BIGINT NOT NULL,
    csrf_token TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (token_sha256),
    CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE RESTRICT
);

CREATE INDEX ix_sessions_user_id ON sessions (user_id);

CREATE TABLE visitors (
    user_id BIGINT NOT NULL,
    token_sha256 BYTEA NOT NULL,
    notice INTEGER,
    agreed_at BIGINT,
    CONSTRAINT pk_visitors PRIMARY KEY (user_id),
    CONSTRAINT ck_visitors_agreed CHECK ((notice is null) = (agreed_at is null)),
    CONSTRAINT fk_visitors_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT uq_visitors_token_sha256 UNIQUE (token_sha256)
);

CREATE TABLE completions (
    id BIGSERIAL NOT NULL,
    prompt_id BIGINT NOT NULL,
    policy_id BIGINT NOT NULL,
    draw INTEGER NOT NULL,
    text TEXT NOT NULL,
    finished BOOLEAN NOT NULL,
    tokens INTEGER NOT NULL,
    token_ids JSON NOT NULL,
    CONSTRAINT pk_completions PRIMARY KEY (id),
    CONSTRAINT uq_completions_prompt_id_policy_id_draw UNIQUE (prompt_id, policy_id, draw),
    CONSTRAINT uq_completions_id_prompt_id UNIQUE (id, prompt_id),
    CONSTRAINT fk_completions_prompt_id FOREIGN KEY(prompt_id) REFERENCES prompts (id) ON DELETE RESTRICT,
    CONSTRAINT fk_completions_policy_id FOREIGN KEY(policy_id) REFERENCES policies (id) ON DELETE RESTRICT
);

CREATE TABLE given_answers (
    prompt_id BIGINT NOT NULL,
    answer_no INTEGER NOT NULL,
    text TEXT NOT NULL,
    rank INTEGER,
    model TEXT NOT NULL,
    labeler TEXT NOT NULL,
    CONSTRAINT pk_given_answers PRIMARY KEY (prompt_id, answer_no),
    CONSTRAINT ck_given_answers_rank CHECK (rank >= 1),
    CONSTRAINT fk_given_answers_prompt_id FOREIGN KEY(prompt_id) REFERENCES prompts (id) ON DELETE RESTRICT
);

CREATE TABLE tasks (
    id BIGSERIAL NOT NULL,
    public_id TEXT NOT NULL,
    campaign_id BIGINT NOT NULL,
    prompt_id BIGINT,
    description TEXT,
    place INTEGER NOT NULL,
    is_gold BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    CONSTRAINT pk_tasks PRIMARY KEY (id),
    CONSTRAINT uq_tasks_campaign_id_place UNIQUE (campaign_id, place),
    CONSTRAINT uq_tasks_id_prompt_id UNIQUE (id, prompt_id),
    CONSTRAINT uq_tasks_id_campaign_id UNIQUE (id, campaign_id),
    CONSTRAINT ck_tasks_state CHECK (state in ('draft', 'open', 'stopped')),
    CONSTRAINT ck_tasks_description CHECK (description is null or prompt_id is null),
    CONSTRAINT uq_tasks_public_id UNIQUE (public_id),
    CONSTRAINT fk_tasks_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaigns (id) ON DELETE RESTRICT,
    CONSTRAINT fk_tasks_prompt_id FOREIGN KEY(prompt_id) REFERENCES prompts (id) ON DELETE RESTRICT
);

CREATE INDEX ix_tasks_prompt_id ON tasks (prompt_id);

CREATE TABLE assignments (
    id BIGSERIAL NOT NULL,
    public_id TEXT NOT NULL,
    task_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    cohort TEXT NOT NULL,
    slot_no INTEGER,
    display_order JSON NOT NULL,
    guideline_id BIGINT,
    state TEXT NOT NULL,
    skip_reason TEXT,
    active_ms BIGINT DEFAULT '0' NOT NULL,
    idle_ms BIGINT DEFAULT '0' NOT NULL,
    first_input_ms BIGINT,
    opened_at BIGINT NOT NULL,
    CONSTRAINT pk_assignments PRIMARY KEY (id),
    CONSTRAINT uq_assignments_task_id_user_id UNIQUE (task_id, user_id),
    CONSTRAINT ck_assignments_state CHECK (state in ('open', 'submitted', 'skipped')),
    CONSTRAINT ck_assignments_skips_have_a_reason CHECK ((state = 'skipped') = (skip_reason is not null)),
    CONSTRAINT uq_assignments_public_id UNIQUE (public_id),
    CONSTRAINT fk_assignments_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE RESTRICT,
    CONSTRAINT fk_assignments_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_assignments_guideline_id FOREIGN KEY(guideline_id) REFERENCES guidelines (id) ON DELETE RESTRICT
);

CREATE INDEX ix_assignments_user_id_state ON assignments (user_id, state);

CREATE TABLE gold_flags (
    task_id BIGINT NOT NULL,
    item_no INTEGER NOT NULL,
    flag_key TEXT NOT NULL,
    value BOOLEAN NOT NULL,
    CONSTRAINT pk_gold_flags PRIMARY KEY (task_id, item_no, flag_key),
    CONSTRAINT fk_gold_flags_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE RESTRICT
);

CREATE TABLE gold_pairs (
    task_id BIGINT NOT NULL,
    item_a INTEGER NOT NULL,
    item_b INTEGER NOT NULL,
    relation INTEGER NOT NULL,
    CONSTRAINT pk_gold_pairs PRIMARY KEY (task_id, item_a, item_b),
    CONSTRAINT ck_gold_pairs_order CHECK (item_a < item_b),
    CONSTRAINT ck_gold_pairs_relation CHECK (relation between -1 and 1),
    CONSTRAINT fk_gold_pairs_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE RESTRICT
);

CREATE TABLE slots (
    task_id BIGINT NOT NULL,
    slot_no INTEGER NOT NULL,
    campaign_id BIGINT NOT NULL,
    place INTEGER NOT NULL,
    assignee_id BIGINT,
    lease_until BIGINT,
    state TEXT NOT NULL,
    CONSTRAINT pk_slots PRIMARY KEY (task_id, slot_no),
    CONSTRAINT fk_slots_task FOREIGN KEY(task_id, campaign_id) REFERENCES tasks (id, campaign_id),
    CONSTRAINT ck_slots_state CHECK (state in ('open', 'leased', 'done')),
    CONSTRAINT ck_slots_assignee CHECK ((state = 'open') = (assignee_id is null)),
    CONSTRAINT ck_slots_lease CHECK ((state = 'leased') = (lease_until is not null)),
    CONSTRAINT fk_slots_assignee_id FOREIGN KEY(assignee_id) REFERENCES users (id) ON DELETE RESTRICT
);

CREATE INDEX ix_slots_queue ON slots (campaign_id, state, slot_no, place);

CREATE UNIQUE INDEX uq_slots_task_assignee ON slots (task_id, assignee_id) WHERE assignee_id is not null;

CREATE TABLE task_items (
    task_id BIGINT NOT NULL,
    item_no INTEGER NOT NULL,
    prompt_id BIGINT NOT NULL,
    completion_id BIGINT NOT NULL,
    CONSTRAINT pk_task_items PRIMARY KEY (task_id, item_no),
    CONSTRAINT uq_task_items_task_id_completion_id UNIQUE (task_id, completion_id),
    CONSTRAINT fk_task_items_task FOREIGN KEY(task_id, prompt_id) REFERENCES tasks (id, prompt_id),
    CONSTRAINT fk_task_items_completion FOREIGN KEY(completion_id, prompt_id) REFERENCES completions (id, prompt_id)
);

CREATE TABLE drafts (
    assignment_id BIGINT NOT NULL,
    rev INTEGER NOT NULL,
    payload JSON NOT NULL,
    saved_at BIGINT NOT NULL,
    CONSTRAINT pk_drafts PRIMARY KEY (assignment_id),
    CONSTRAINT fk_drafts_assignment_id FOREIGN KEY(assignment_id) REFERENCES assignments (id) ON DELETE RESTRICT
);

CREATE TABLE submissions (
    id BIGSERIAL NOT NULL,
    public_id TEXT NOT NULL,
    assignment_id BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    supersedes_id BIGINT,
    client_uuid TEXT NOT NULL,
    state TEXT NOT NULL,
    is_surplus BOOLEAN NOT NULL,
    payload JSON NOT NULL,
    comment TEXT NOT NULL,
    active_ms BIGINT NOT NULL,
    idle_ms BIGINT NOT NULL,
    submitted_at BIGINT NOT NULL,
    CONSTRAINT pk_submissions PRIMARY KEY (id),
    CONSTRAINT uq_submissions_assignment_id_revision UNIQUE (assignment_id, revision),
    CONSTRAINT ck_submissions_state CHECK (state in ('building', 'final', 'superseded', 'withdrawn', 'late')),
    CONSTRAINT uq_submissions_public_id UNIQUE (public_id),
    CONSTRAINT fk_submissions_assignment_id FOREIGN KEY(assignment_id) REFERENCES assignments (id) ON DELETE RESTRICT,
    CONSTRAINT fk_submissions_supersedes_id FOREIGN KEY(supersedes_id) REFERENCES submissions (id) ON DELETE RESTRICT,
    CONSTRAINT uq_submissions_client_uuid UNIQUE (client_uuid)
);

CREATE UNIQUE INDEX uq_submissions_final ON submissions (assignment_id) WHERE state = 'final';

CREATE TABLE adjudications (
    id BIGSERIAL NOT NULL,
    task_id BIGINT NOT NULL,
    adjudicator_id BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    submission_id BIGINT,
    rank_groups JSON,
    reason TEXT NOT NULL,
    note TEXT NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT pk_adjudications PRIMARY KEY (id),
    CONSTRAINT ck_adjudications_outcome CHECK (outcome in ('accepted', 'own', 'ambiguous')),
    CONSTRAINT ck_adjudications_reason CHECK (reason in ('guideline_gap', 'slip', 'taste')),
    CONSTRAINT ck_adjudications_accepted CHECK ((outcome = 'accepted') = (submission_id is not null)),
    CONSTRAINT fk_adjudications_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE RESTRICT,
    CONSTRAINT fk_adjudications_adjudicator_id FOREIGN KEY(adjudicator_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_adjudications_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id) ON DELETE RESTRICT
);

CREATE TABLE demonstrations (
    submission_id BIGINT NOT NULL,
    text TEXT NOT NULL,
    turns JSON NOT NULL,
    CONSTRAINT pk_demonstrations PRIMARY KEY (submission_id),
    CONSTRAINT ck_demonstrations_text_is_not_empty CHECK (length(text) > 0),
    CONSTRAINT fk_demonstrations_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id) ON DELETE RESTRICT
);

CREATE TABLE flag_values (
    submission_id BIGINT NOT NULL,
    item_no INTEGER NOT NULL,
    flag_key TEXT NOT NULL,
    value BOOLEAN NOT NULL,
    CONSTRAINT pk_flag_values PRIMARY KEY (submission_id, item_no, flag_key),
    CONSTRAINT fk_flag_values_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id) ON DELETE RESTRICT
);

CREATE TABLE grades (
    submission_id BIGINT NOT NULL,
    grader_id BIGINT NOT NULL,
    score INTEGER NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT pk_grades PRIMARY KEY (submission_id, grader_id),
    CONSTRAINT ck_grades_score CHECK (score between 1 and 7),
    CONSTRAINT fk_grades_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id) ON DELETE RESTRICT,
    CONSTRAINT fk_grades_grader_id FOREIGN KEY(grader_id) REFERENCES users (id) ON DELETE RESTRICT
);

CREATE TABLE rank_entries (
    submission_id BIGINT NOT NULL,
    item_no INTEGER NOT NULL,
    rank_group INTEGER,
    CONSTRAINT pk_rank_entries PRIMARY KEY (submission_id, item_no),
    CONSTRAINT ck_rank_entries_rank_group CHECK (rank_group between 1 and 9),
    CONSTRAINT fk_rank_entries_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id) ON DELETE RESTRICT
);

CREATE TABLE ratings (
    submission_id BIGINT NOT NULL,
    item_no INTEGER NOT NULL,
    likert INTEGER NOT NULL,
    notes TEXT NOT NULL,
    CONSTRAINT pk_ratings PRIMARY KEY (submission_id, item_no),
    CONSTRAINT ck_ratings_likert CHECK (likert between 1 and 7),
    CONSTRAINT fk_ratings_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id) ON DELETE RESTRICT
);

CREATE TABLE toxicity_ratings (
    submission_id BIGINT NOT NULL,
    item_no INTEGER NOT NULL,
    toxicity INTEGER NOT NULL,
    relative INTEGER NOT NULL,
    continuity INTEGER NOT NULL,
    CONSTRAINT pk_toxicity_ratings PRIMARY KEY (submission_id, item_no),
    CONSTRAINT ck_toxicity_ratings_toxicity CHECK (toxicity between 0 and 2),
    CONSTRAINT ck_toxicity_ratings_relative CHECK (relative between -1 and 1),
    CONSTRAINT ck_toxicity_ratings_continuity CHECK (continuity between 1 and 7),
    CONSTRAINT fk_toxicity_ratings_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id) ON DELETE RESTRICT
);

CREATE TABLE votes (
    submission_id BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    margin INTEGER,
    left_item INTEGER NOT NULL,
    names_itself BOOLEAN NOT NULL,
    CONSTRAINT pk_votes PRIMARY KEY (submission_id),
    CONSTRAINT ck_votes_verdict CHECK (verdict in ('item_1', 'item_2', 'tie', 'both_bad')),
    CONSTRAINT ck_votes_margin CHECK (margin between 1 and 3),
    CONSTRAINT ck_votes_left_item CHECK (left_item between 1 and 2),
    CONSTRAINT ck_votes_margins_need_a_winner CHECK ((verdict in ('item_1', 'item_2')) >= (margin is not null)),
    CONSTRAINT fk_votes_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id) ON DELETE RESTRICT
);

CREATE TABLE written_prompts (
    submission_id BIGINT NOT NULL,
    prompt_id BIGINT,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    examples JSON NOT NULL,
    use_case TEXT NOT NULL,
    CONSTRAINT pk_written_prompts PRIMARY KEY (submission_id),
    CONSTRAINT ck_written_prompts_text_is_not_empty CHECK (length(text) > 0),
    CONSTRAINT fk_written_prompts_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id) ON DELETE RESTRICT,
    CONSTRAINT fk_written_prompts_prompt_id FOREIGN KEY(prompt_id) REFERENCES prompts (id) ON DELETE RESTRICT
);
