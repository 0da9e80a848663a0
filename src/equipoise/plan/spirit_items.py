"""The items of a trial protocol by SPIRIT 2013, with those of SPIRIT-AI, in short words of our own.

Source: Chan et al. (2013), SPIRIT 2013 statement, 33 items; Cruz Rivera et al. (2020), SPIRIT-AI extension, 15 items.
"""

from __future__ import annotations

SECTIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Administrative information",
        (
            ("1", "Title: design, population, interventions, and the acronym if there is one"),
            ("SPIRIT-AI 1 (i)", "Title or abstract: that the intervention uses artificial intelligence, and the type of model"),
            ("SPIRIT-AI 1 (ii)", "Title or abstract: the intended use of the AI intervention"),
            ("2a", "Trial registration: identifier and registry, or the registry intended"),
            ("2b", "Trial registration: all items of the WHO trial registration data set"),
            ("3", "Protocol version: date and identifier"),
            ("4", "Funding: sources and kinds of support"),
            ("5a", "Roles: names, affiliations and roles of the protocol's contributors"),
            ("5b", "Roles: name and contact of the sponsor"),
            ("5c", "Roles: part of sponsor and funders in design, conduct, analysis, reporting and the decision to publish"),
            ("5d", "Roles: composition and duties of coordinating centre, steering committee, endpoint adjudication and data management"),
        ),
    ),
    (
        "Introduction",
        (
            ("6a", "Background and rationale: research question, why the trial is needed, studies of benefits and harms so far"),
            ("SPIRIT-AI 6a (i)", "Intended use of the AI intervention in the clinical pathway: its purpose and its users"),
            ("SPIRIT-AI 6a (ii)", "Evidence for the AI intervention that exists already"),
            ("6b", "Choice of comparators, explained"),
            ("7", "Objectives or hypotheses"),
            ("8", "Trial design: type, allocation ratio, framework (superiority, equivalence, non-inferiority, exploratory)"),
        ),
    ),
    (
        "Methods: participants, interventions, outcomes",
        (
            ("9", "Study setting: kinds of site, countries, where the list of sites is found"),
            ("SPIRIT-AI 9", "What is needed onsite and offsite to integrate the AI intervention into the setting"),
            ("10", "Eligibility: of participants, and of sites and of those who perform the intervention"),
            ("SPIRIT-AI 10 (i)", "Eligibility at the level of participants"),
            ("SPIRIT-AI 10 (ii)", "Eligibility at the level of the input data"),
            ("11a", "Interventions of each arm, in enough detail to repeat them"),
            ("SPIRIT-AI 11a (i)", "Version of the AI algorithm"),
            ("SPIRIT-AI 11a (ii)", "How input data are acquired and selected"),
            ("SPIRIT-AI 11a (iii)", "How poor or unavailable input data are assessed and handled"),
            ("SPIRIT-AI 11a (iv)", "Whether people handle the input data together with the AI, and what expertise they need"),
            ("SPIRIT-AI 11a (v)", "Output of the AI intervention"),
            ("SPIRIT-AI 11a (vi)", "How the output contributes to decisions or other parts of care"),
            ("11b", "When an allocated intervention is stopped or changed for a participant"),
            ("11c", "How adherence is improved and watched"),
            ("11d", "Concomitant care and interventions that are permitted or prohibited"),
            ("12", "Outcomes: variable, metric, aggregation and time point of each; why they matter"),
            ("13", "Participant timeline: enrolment, interventions, assessments, visits"),
            ("14", "Sample size: how many, and how the number was found"),
            ("15", "Recruitment: how enough participants are reached"),
        ),
    ),
    (
        "Methods: assignment of interventions",
        (
            ("16a", "Sequence generation: method, stratification, restrictions"),
            ("16b", "Allocation concealment: how the sequence is hidden until assignment"),
            ("16c", "Implementation: who makes the sequence, enrols, assigns"),
            ("17a", "Blinding: who is blinded after assignment, and how"),
            ("17b", "Blinding: when and how a participant is unblinded"),
        ),
    ),
    (
        "Methods: data collection, management, analysis",
        (
            ("18a", "Data collection: how outcomes, baseline and other data are assessed, with their quality"),
            ("18b", "Retention and complete follow-up; what is collected of those who stop or deviate"),
            ("19", "Data management: entry, coding, security, storage"),
            ("20a", "Statistical methods for primary and secondary outcomes"),
            ("20b", "Statistical methods for additional analyses: subgroups, adjustment"),
            ("20c", "Analysis population and missing data"),
        ),
    ),
    (
        "Methods: monitoring",
        (
            ("21a", "Data monitoring committee: composition, role, independence; or why there is none"),
            ("21b", "Interim analyses and stopping guidelines; who sees the results and decides"),
            ("22", "Harms: how adverse events and other unintended effects are collected, assessed, reported"),
            ("SPIRIT-AI 22", "How performance errors are to be found and analysed; or why not"),
            ("23", "Auditing: how often and how, and whether it is independent of investigators and sponsor"),
        ),
    ),
    (
        "Ethics and dissemination",
        (
            ("24", "Research ethics approval"),
            ("25", "Protocol amendments: how they are passed on"),
            ("26a", "Consent or assent: who obtains it, and how"),
            ("26b", "Consent for the use of data and specimens in ancillary studies"),
            ("27", "Confidentiality before, during and after the trial"),
            ("28", "Declaration of interests"),
            ("29", "Access to data: who has it; contracts that limit it"),
            ("SPIRIT-AI 29", "Whether and how the AI intervention or its code can be accessed, with any restriction"),
            ("30", "Ancillary and post-trial care; compensation for harm"),
            ("31a", "Dissemination: how results reach participants, professionals, the public"),
            ("31b", "Dissemination: authorship and professional writers"),
            ("31c", "Dissemination: public access to full protocol, participant-level data, statistical code"),
        ),
    ),
    (
        "Appendices",
        (
            ("32", "Informed consent materials"),
            ("33", "Biological specimens: collection, evaluation, storage"),
        ),
    ),
)
"""Sections of a protocol, each with its items: number, and what it must say."""
