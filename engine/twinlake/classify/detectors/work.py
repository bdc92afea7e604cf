"""Work: job titles and organizations. A title is told by its head noun, a firm by its legal form or its words."""

from __future__ import annotations

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Detector, Keys, Mask, matches
from twinlake.classify.detectors.names import SPLIT as NAME_SPLIT
from twinlake.classify.drawn import chosen
from twinlake.classify.fakes import draw, joined, pick
from twinlake.classify.features import MARKS, Gate
from twinlake.classify.lexicon import has, known, plain_of, where
from twinlake.classify.vocabulary import COMPANY_FORMS, COMPANY_WORDS, JOB_HEADS, job_titles
from twinlake.classify.words import shipped

SPLIT = NAME_SPLIT | 1 << MARKS.index("/") | 1 << MARKS.index(",") | 1 << MARKS.index("(")
FORM = f"(?:{COMPANY_FORMS})"


def match_job(values: pa.StringArray) -> Mask:
    """A title from lists of occupations, or words that end (or begin) with the name of a role."""
    text = plain_of(values)
    return known(text, job_words) | where(text, has(text, SPLIT), _has_role)


def _has_role(text: pa.StringArray) -> Mask:
    return matches(text, f"(?:.*[ /,(-])?(?:{JOB_HEADS})s?(?:[ ,/(-].*)?") & matches(text, ".{2,100}")


def match_job_shape(values: pa.StringArray) -> Mask:
    """Words without a digit, as any title may be."""
    return matches(values, "\\pL[^0-9@]{2,80}")


@cache
def job_words() -> pa.StringArray:
    """Titles of the lists, and roles that stand alone."""
    return pa.array(sorted({*job_titles().to_pylist(), *JOB_HEADS.split("|")}))


def match_organization(values: pa.StringArray) -> Mask:
    """A legal form at the end, a word that firms use, or names joined as firms join them."""
    text = pc.replace_substring_regex(plain_of(values), pattern="\\.", replacement="")
    return matches(values, ".{2,120}") & (
        matches(text, f".*[a-z0-9&)'!]{{1}}[ ,]+{FORM}(?: .{{1,20}})?|{FORM} .{{2,60}}")
        | matches(text, f"(?:.*[ '&-])?(?:{COMPANY_WORDS})(?:[ ,'&-].*)?")
        | matches(
            text,
            "[a-z'-]+, [a-z'-]+ (?:and|&) [a-z'-]+|[a-z'-]+(?: [a-z'-]+)? (?:&|and|und|et|y|e) (?:sons?|co|cie"
            "|sohne|fils|hijos|figli|brothers|partners?|associates)|[a-z']+ ?& ?[a-z']+",
        )
    )


def match_organization_shape(values: pa.StringArray) -> Mask:
    """One to eight words with a letter: names of firms are free."""
    return matches(values, "[^@]*\\pL[^@]*") & matches(values, "\\S+(?: \\S+){0,7}") & matches(values, ".{2,80}")


def fake_organization(keys: Keys) -> pa.StringArray:
    """A last name, a word of business and a form."""
    last = shipped("last")
    middle = pa.array(["Consulting", "Trading", "Logistics", "Foods", "Systems", "Holdings", "Partners", "Industries"])
    form = pa.array(["Inc", "LLC", "Ltd", "GmbH"])
    return joined(
        pick(last, draw(keys, "firm name", len(last))), " ", pick(middle, draw(keys, "firm word", len(middle))), " ",
        pick(form, draw(keys, "firm form", len(form))),
    )  # fmt: skip


JOBS = pa.array(["Accountant", "Analyst", "Architect", "Baker", "Carpenter", "Chemist", "Consultant", "Dentist", "Designer",
    "Developer", "Driver", "Editor", "Electrician", "Engineer", "Farmer", "Librarian", "Manager", "Mechanic", "Nurse",
    "Painter", "Pharmacist", "Photographer", "Pilot", "Plumber", "Secretary", "Surgeon", "Teacher", "Technician",
    "Translator", "Veterinarian"])  # fmt: skip
WORK: tuple[Detector, ...] = (
    Detector(
        "JOB_TITLE", match_job, ("job", "job title", "title", "occupation", "profession", "position", "role", "job role",
            "beruf", "stellung", "metier", "poste", "profesion", "puesto", "cargo", "ocupacion", "professione",
            "contact title", "designation", "jobtitle", "work title", "emploi", "functie"), "dictionary",
        chosen(JOBS, "job"), 30, alone=match_job, shape=match_job_shape, shape_least=0.15, gate=Gate(2, 120, digits=(0, 2)),
            rule="words",
        against=("song title", "book title", "film title", "movie title", "job level", "job id", "job satisfaction",
            "job involvement", "position id", "user role", "courtesy"),
    ),
    Detector(
        "ORGANIZATION", match_organization, ("company", "company name", "organization", "organisation", "organization name",
            "employer", "employer name", "business", "business name", "firm", "corporation", "vendor", "supplier",
            "supplier name", "vendor name", "firma", "unternehmen", "arbeitgeber", "entreprise", "societe", "employeur",
            "empresa", "compania", "azienda", "societa", "bedrijf", "firmenname", "insurance company", "bank name",
            "provider", "provider name", "merchant", "account name", "school", "university"), "dictionary",
        fake_organization, 30_000, alone=match_organization, shape=match_organization_shape, shape_least=0.05, gate=Gate(2,
            140, letters=(2, 140)), bare_gate=Gate(4, 140, letters=(3, 140), some=" &-,"), rule="words",
        against=("company size", "companies worked", "business travel", "company id", "company code", "company email"),
    ),
)  # fmt: skip
