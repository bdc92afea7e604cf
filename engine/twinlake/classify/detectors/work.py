"""Work: job titles and organizations. A title is told by its head noun, a firm by its legal form or by what firms are called."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Detector, Keys, Mask, is_in, matches
from twinlake.classify.drawn import chosen
from twinlake.classify.fakes import draw, joined, pick
from twinlake.classify.features import Gate
from twinlake.classify.text import plain_array
from twinlake.classify.vocabulary import COMPANY_FORMS, COMPANY_WORDS, JOB_HEADS, job_titles
from twinlake.classify.words import shipped

FORM = f"(?:{COMPANY_FORMS})"


def match_job(values: pa.StringArray) -> Mask:
    """A title from lists of occupations, or words that end (or begin) with the name of a role."""
    text = plain_array(values)
    role = f"(?:{JOB_HEADS})"
    return (
        is_in(text, job_titles())
        | matches(text, f"(?:.*[ /,(-])?{role}s?(?:[ ,/(-].*)?")
        | matches(text, "(?:[a-z]+[- ]){0,3}[a-z]*(?:ologist|ographer|ician|keeper|maker|smith|entist|iatrist|teur|ingenieur|leiter(?:in)?|macher|berater(?:in)?|verkaufer(?:in)?)")
    ) & matches(values, ".{2,100}")


def match_organization(values: pa.StringArray) -> Mask:
    """A legal form at the end, a word that firms use, or names joined as firms join them."""
    text = pc.replace_substring_regex(plain_array(values), pattern="\\.", replacement="")
    return (
        matches(text, f".*[a-z0-9&)'!]{{1}}[ ,]+{FORM}(?: .{{1,20}})?|{FORM} .{{2,60}}")
        | matches(text, f"(?:.*[ '&-])?(?:{COMPANY_WORDS})(?:[ ,'&-].*)?")
        | matches(text, "[a-z'-]+, [a-z'-]+ (?:and|&) [a-z'-]+|[a-z'-]+(?: [a-z'-]+)? (?:&|and|und|et|y|e) (?:sons?|co|cie|sohne|fils|hijos|figli|brothers|partners?|associates)|[a-z']+ ?& ?[a-z']+")
    ) & matches(values, ".{2,120}")


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


JOBS = pa.array(["Accountant", "Analyst", "Architect", "Baker", "Carpenter", "Chemist", "Consultant", "Dentist", "Designer", "Developer", "Driver", "Editor", "Electrician", "Engineer", "Farmer", "Librarian", "Manager", "Mechanic", "Nurse", "Painter", "Pharmacist", "Photographer", "Pilot", "Plumber", "Secretary", "Surgeon", "Teacher", "Technician", "Translator", "Veterinarian"])  # fmt: skip
WORK: tuple[Detector, ...] = (
    Detector(
        "JOB_TITLE", match_job, ("job", "job title", "title", "occupation", "profession", "position", "role", "job role", "beruf", "stellung", "metier", "poste", "profesion", "puesto", "cargo", "ocupacion", "professione", "contact title", "designation", "jobtitle", "work title", "emploi", "functie"), "dictionary",
        chosen(JOBS, "job"), 30, alone=match_job, shape=lambda values: matches(values, "\\pL[^0-9@]{2,80}"), shape_least=0.15, gate=Gate(2, 120), rule="words",
        against=("song title", "book title", "film title", "movie title", "job level", "job id", "job satisfaction", "job involvement", "position id", "user role", "courtesy"),
    ),
    Detector(
        "ORGANIZATION", match_organization, ("company", "company name", "organization", "organisation", "organization name", "employer", "employer name", "business", "business name", "firm", "corporation", "vendor", "supplier", "supplier name", "vendor name", "firma", "unternehmen", "arbeitgeber", "entreprise", "societe", "employeur", "empresa", "compania", "azienda", "societa", "bedrijf", "firmenname", "insurance company", "bank name", "provider", "provider name", "merchant", "account name", "school", "university"), "dictionary",
        fake_organization, 30_000, alone=match_organization, shape=match_organization_shape, shape_least=0.05, gate=Gate(2, 140), rule="words",
        against=("company size", "companies worked", "business travel", "company id", "company code", "company email"),
    ),
)  # fmt: skip
