"""Short word lists that are facts of languages and census forms, written here; long ones come from Faker (MIT) at run time.

All are in the form of `text.plain`: lower case, no accents.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import pyarrow as pa

from twinlake.classify.text import listed, plain


def _phrases(text: str) -> pa.StringArray:
    return pa.array(sorted({plain(part).strip() for part in text.replace("\n", ";").split(";") if part.strip()}), pa.string())


RACES = _phrases(
    """white; black; asian; hispanic; latino; latina; latinx; african american; black or african american; caucasian
    native american; american indian; american indian or alaska native; alaska native; alaskan native; pacific islander
    native hawaiian; native hawaiian or other pacific islander; asian-pac-islander; amer-indian-eskimo
    amer indian aleut or eskimo; asian or pacific islander; two or more races; multiracial; multi-racial; mixed
    mixed race; biracial; middle eastern; arab; indigenous; aboriginal; first nations; inuit; metis; hispanic or latino
    not hispanic or latino; non-hispanic; non hispanic; hispanic/latino; non-hispanic white; non-hispanic black
    white british; white irish; black african; black caribbean; south asian; east asian; southeast asian; chinese; indian
    pakistani; bangladeshi; european; african; eskimo; roma; romani; maori; pasifika; coloured; colored; other; unknown
    declined to answer; prefer not to say; some other race; refused; native; mestizo; mulatto; pardo; other asian
    other race; blanco; negro; asiatico; blanc; noir; weiss; schwarz; black/african american; white/caucasian
    decline to answer"""
)
RELIGIONS = _phrases(
    """christian; christianity; catholic; roman catholic; protestant; orthodox; eastern orthodox; anglican; baptist; lutheran
    methodist; presbyterian; pentecostal; evangelical; mormon; lds; jehovah's witness; adventist; episcopalian; quaker
    muslim; islam; islamic; sunni; shia; shiite; sufi; jewish; judaism; jew; hindu; hinduism; buddhist; buddhism; sikh
    sikhism; jain; jainism; taoist; taoism; daoist; shinto; shintoism; confucian; bahai; baha'i; zoroastrian; pagan
    wiccan; atheist; atheism; agnostic; agnosticism; none; no religion; non-religious; spiritual; secular; unaffiliated
    katholisch; evangelisch; muslimisch; judisch; konfessionslos; rk; ev; catholique; protestante; musulman; juif
    catolico; catolica; cristiano; cristiana; musulmana; judio; cattolico; ateo; other; rastafarian; scientologist; druze
    unitarian"""
)
POLITICAL = _phrases(
    """republican; democrat; democratic; independent; libertarian; green; conservative; liberal; labour; moderate
    progressive; socialist; communist; left; right; far left; far right; centre; center; centrist; left-wing; right-wing
    very liberal; very conservative; social democrat; christian democrat; nationalist; anarchist; cdu; csu; spd; fdp; afd
    grune; die linke; unaffiliated; no party preference; apolitical; slightly liberal; slightly conservative; tory
    lib dem; populist; other"""
)
SEXUALITIES = _phrases(
    """heterosexual; straight; homosexual; gay; lesbian; bisexual; bi; asexual; pansexual; queer; gay or lesbian
    straight/heterosexual; demisexual; questioning; heterosexuell; homosexuell; bisexuell; heterosexuel; homosexuel
    lesbienne; heterosexual; lesbiana; other; prefer not to say; questioning or unsure; undisclosed"""
)
MARITAL = _phrases(
    """single; married; divorced; widowed; separated; never married; never-married; married-civ-spouse; married-spouse-absent
    married-af-spouse; divorcee; widow; widower; engaged; domestic partner; domestic partnership; civil union
    civil partnership; in a relationship; cohabiting; common law; partnered; unmarried; registered partnership; annulled
    ledig; verheiratet; geschieden; verwitwet; getrennt; celibataire; marie; mariee; divorce; veuf; veuve; pacs; pacse
    concubinage; soltero; soltera; casado; casada; divorciado; divorciada; viudo; viuda; celibe; nubile; coniugato
    coniugata; sposato; sposata; vedovo; vedova; gehuwd; ongehuwd; gescheiden; alleenstaand; solteiro; solteira; viuvo; s
    m; d; w; unknown; other; divorced/separated; legally separated; separated/divorced"""
)
EMPLOYMENT = _phrases(
    """employed; unemployed; self-employed; self employed; retired; student; homemaker; full-time; part-time; full time
    part time; contract; contractor; freelance; freelancer; temporary; intern; employed full-time; employed part-time
    employed full time; employed part time; not employed; unable to work; disabled; on leave; apprentice; private
    self-emp-not-inc; self-emp-inc; federal-gov; local-gov; state-gov; without-pay; never-worked; angestellt; arbeitslos
    selbststandig; rentner; vollzeit; teilzeit; en activite; chomeur; retraite; etudiant; independant; empleado
    desempleado; autonomo; jubilado; estudiante; occupato; disoccupato; pensionato; studente; military; seasonal
    furloughed; permanent; looking for work; terminated; casual; zero hours"""
)
EDUCATION = _phrases(
    """bachelors; bachelor; bachelor's; bachelor's degree; bachelors degree; bachelor degree; masters; master; master's
    master's degree; masters degree; doctorate; doctoral; phd; ph.d.; ph.d; doctor; doctorate degree; high school
    high school graduate; high-school; high school diploma; hs-grad; hs grad; some college; some-college; college
    college graduate; associate; associates; associate's; associate degree; associate's degree; associates degree
    assoc-voc; assoc-acdm; prof-school; professional; professional degree; below college; primary; primary school
    secondary; secondary school; tertiary; vocational; trade school; graduate; graduate school; undergraduate
    postgraduate; post-graduate; ged; diploma; certificate; none; preschool; elementary; middle school
    less than high school; no formal education; university; some high school; university degree; 1st-4th; 5th-6th; 7th-8th
    9th; 10th; 11th; 12th; 1st grade; 12th grade; b.a.; b.sc.; ba; bs; bsc; b.s.; m.a.; m.sc.; ma; ms; msc; m.s.; mba; md
    jd; bcom; beng; meng; abitur; realschule; hauptschule; gymnasium; mittlere reife; fachhochschule; universitat
    promotion; lehre; ausbildung; baccalaureat; bac; licence; maitrise; doctorat; brevet; cap; bachillerato; licenciatura
    licenciado; maestria; grado; doctorado; secundaria; primaria; eso; fp; laurea; diploma di maturita; licenza media
    dottorato; unknown; other; post graduate; phd or equivalent; some graduate school; high school or equivalent
    high school or ged; high school or less"""
)
TITLES = _phrases(
    """mr; mr.; mrs; mrs.; ms; ms.; miss; dr; dr.; prof; prof.; professor; rev; rev.; sir; dame; lord; lady; mx; mx.; hon
    hon.; herr; frau; herr dr.; frau dr.; dipl.-ing.; m; m.; mme; mme.; mlle; mlle.; monsieur; madame; mademoiselle; sr
    sr.; sra; sra.; srta; srta.; don; dona; sig; sig.; sig.ra; dott; dott.; dott.ssa; dhr; dhr.; mevr; mevr.; mw; hr; hr.
    fru; fr; fr.; pan; pani; bc.; ing.; mgr.; mudr.; capt; capt.; col; col.; sgt; sgt.; lt; lt.; maj; maj.; gen; gen."""
)

JOB_HEADS = "|".join(
    listed("""
    manager director engineer developer analyst administrator assistant consultant representative officer specialist
    supervisor coordinator technician accountant clerk secretary president vice owner programmer designer architect
    nurse doctor physician surgeon dentist pharmacist teacher lecturer professor tutor instructor researcher scientist
    chemist biologist physicist economist statistician actuary auditor lawyer attorney paralegal solicitor barrister
    judge driver pilot mechanic plumber carpenter welder painter builder roofer mason installer operator machinist
    inspector estimator surveyor planner buyer salesperson salesman saleswoman seller cashier agent broker trader banker
    teller advisor adviser counselor counsellor therapist psychologist psychiatrist chef cook waiter waitress bartender
    baker butcher barista housekeeper janitor cleaner caretaker gardener farmer fisherman forester miner editor writer
    author journalist reporter photographer translator interpreter librarian archivist curator actor musician artist
    producer animator chairman chairwoman ceo cto cfo coo cio vp head lead chief executive founder partner intern
    trainee apprentice associate soldier policeman firefighter guard detective paramedic veterinarian optometrist
    hygienist aide attendant receptionist operative worker labourer laborer recruiter marketer merchandiser strategist
    planner controller treasurer underwriter adjuster dispatcher courier loader packer assembler fabricator retired
    student unemployed technologist optician midwife dietitian nutritionist chiropractor geologist ecologist hydrologist
    meteorologist astronomer employee staff conductor composer dancer singer model stylist hairdresser barber beautician
    tailor seamstress jeweler upholsterer sawyer leiter leiterin ingenieur ingenieurin entwickler entwicklerin berater
    beraterin verkaufer verkauferin lehrer lehrerin arzt arztin pfleger krankenschwester sachbearbeiter mitarbeiter
    geschaftsfuhrer assistentin buchhalter sekretarin techniker kaufmann kauffrau directeur directrice ingenieure
    responsable vendeur vendeuse infirmier infirmiere medecin avocat professeur comptable technicien gerant chef
    secretaire gerente ingeniero ingeniera medico enfermera enfermero profesor profesora abogado abogada contador
    vendedor jefe administrador asistente tecnico desarrollador direttore ingegnere responsabile impiegato impiegata
    commesso infermiera avvocato medico insegnante
    """)
)
COMPANY_FORMS = (
    "inc|incorporated|llc|l l c|ltd|limited|plc|corp|corporation|co|company|group|holdings?|llp|lp|gmbh|ag|kg|ohg|ug"
    "|e ?v|gbr|se|sa|sas|sarl|eurl|snc|sl|slu|s a|s l|s p a|spa|srl|s r l|bv|b v|nv|n v|vof|ab|oy|oyj|as|a/s|aps|asa"
    "|hb|kft|zrt|sro|s r o|a s|doo|d o o|ood|ead|sp z o o|sia|uab|pty|pty ltd|pvt ltd|private limited|kk|k k|s de rl"
    "|s a de c v|sa de cv|ltda|eireli|ooo|zao|oao|pjsc|gmbh & co kg|partners|associates|& co|and sons|& sons|brothers"
    "|bros|foundation|trust|incorporated"
)
COMPANY_WORDS = (
    "bank|insurance|hospital|clinic|university|college|school|institute|foundation|association|airlines?|airways"
    "|motors?|industries|industrial|enterprises?|technolog(?:y|ies)|systems?|solutions?|services?|consulting"
    "|logistics|transport|pharma|pharmaceuticals?|labs?|laborator(?:y|ies)|foods?|markets?|supermarkets?|stores?"
    "|shops?|restaurants?|cafe|hotel|hotels|studios?|media|entertainment|records|software|networks?|telecom|energy"
    "|electric|electronics|petroleum|oil|gas|mining|steel|chemicals?|construction|builders?|realty|properties"
    "|mortgage|investments?|capital|financial|securities|partners|associates|agency|communications|designs?|graphics"
    "|gardens?|furniture|warehouse|outlet|depot|discount|drugs?|pharmacy|health|healthcare|medical center|center"
    "|centre|products?|imports?|exports?|trading|international|global|worldwide|handels|handel|delikatessen|gourmet"
    "|bodega|comidas|especialidades|specialty|biscuits|seafoods?|confectionery|traiteur|bistro|markt|stop|lumber"
    "|appliances?|musical|auto|tire|rentals?"
)


@cache
def job_titles() -> pa.StringArray:
    """Occupations in many languages, from Faker's job providers; of titles with a comma also the part before it."""
    import faker.providers.job as jobs

    words: set[str] = set()
    for module in pkgutil.iter_modules(jobs.__path__):
        provider = importlib.import_module(f"faker.providers.job.{module.name}").Provider
        for title in getattr(provider, "jobs", ()):
            name = plain(str(title))
            words |= {name, name.split(",")[0]}
    return pa.array(sorted(word for word in words if len(word) > 2), pa.string())


@cache
def languages() -> pa.StringArray:
    """Names of languages in English and in themselves, and ISO 639 codes of the larger ones."""
    from faker.providers.misc.en_US import Provider  # noqa: F401  # the module that is always there
    from faker.providers.person.en import Provider as Person

    names = [plain(str(name)) for name in getattr(Person, "language_names", ())]
    own = listed(
        """
        english deutsch francais espanol italiano portugues nederlands polski svenska norsk dansk suomi magyar cestina
        turkce russian german french spanish italian portuguese dutch polish swedish norwegian danish finnish hungarian
        czech turkish arabic chinese mandarin cantonese japanese korean hindi bengali urdu vietnamese thai greek hebrew
        persian farsi ukrainian romanian
        """
    )
    codes = listed(
        """
        en de fr es it pt nl pl sv no da fi hu cs tr ru ar zh ja ko hi en-us en-gb de-de fr-fr es-es es-mx pt-br it-it
        zh-cn eng deu fra spa ita por
        """
    )
    return pa.array(sorted({*names, *own, *codes}), pa.string())


@cache
def nationalities() -> pa.StringArray:
    """Words for peoples."""
    english = listed(
        """
        afghan albanian algerian american andorran angolan argentine argentinian armenian australian austrian
        azerbaijani bahamian bahraini bangladeshi barbadian belarusian belgian belizean beninese bhutanese bolivian
        bosnian brazilian british bruneian bulgarian burkinabe burmese burundian cambodian cameroonian canadian chadian
        chilean chinese colombian congolese croatian cuban cypriot czech danish djiboutian dominican dutch ecuadorian
        egyptian emirati english eritrean estonian ethiopian fijian filipino finnish french gabonese gambian georgian
        german ghanaian greek grenadian guatemalan guinean guyanese haitian honduran hungarian icelandic indian
        indonesian iranian iraqi irish israeli italian ivorian jamaican japanese jordanian kazakh kenyan korean kuwaiti
        kyrgyz lao laotian latvian lebanese liberian libyan lithuanian luxembourgish macedonian malagasy malawian
        malaysian maldivian malian maltese mauritanian mauritian mexican moldovan mongolian montenegrin moroccan
        mozambican namibian nepalese nepali nicaraguan nigerian nigerien norwegian omani pakistani palestinian
        panamanian paraguayan peruvian polish portuguese qatari romanian russian rwandan salvadoran samoan saudi
        scottish senegalese serbian singaporean slovak slovakian slovenian somali spanish sudanese surinamese swedish
        swiss syrian taiwanese tajik tanzanian thai togolese tongan tunisian turkish turkmen ugandan ukrainian uruguayan
        uzbek venezuelan vietnamese welsh yemeni zambian zimbabwean deutsch osterreichisch schweizerisch franzosisch
        italienisch spanisch polnisch turkisch francais francaise allemand allemande espagnol italien belge suisse
        espanol espanola aleman frances italiano mexicano argentino
        """
    )
    return pa.array(
        sorted(
            {
                *english,
                "new zealander",
                "south african",
                "south korean",
                "north korean",
                "sri lankan",
                "saudi arabian",
                "costa rican",
                "puerto rican",
                "sierra leonean",
                "cape verdean",
                "trinidadian",
            }
        ),
        pa.string(),
    )
