//! What this node knows of datasets, its own and those that others offer to it, as a full-text index on disk. It can be made
//! anew at any time: the truth is with those who offer.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use catalog::{DESCRIPTION, DISTRIBUTION_TITLE, Description, Labelled, TITLE, Text};
use policy_engine::media;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tantivy::aggregation::agg_req::Aggregations;
use tantivy::aggregation::{AggContextParams, AggregationCollector};
use tantivy::collector::{Count, MultiCollector, TopDocs};
use tantivy::query::{AllQuery, BooleanQuery, BoostQuery, Occur, PhrasePrefixQuery, Query, TermQuery};
use tantivy::schema::{FAST, Field, IndexRecordOption, STORED, STRING, Schema, TEXT, Value as _};
use tantivy::tokenizer::TokenStream as _;
use tantivy::{Index, IndexReader, IndexWriter, TantivyDocument, TantivyError, Term};

/// Memory of the writer, in bytes.
const WRITER: usize = 32 * 1024 * 1024;
/// Most values of a facet that are counted.
const MAX_VALUES: u64 = 20;
/// Most hits in one answer, and the farthest into the list that anybody may go.
pub const MAX_HITS: usize = 1000;
/// Longest question, in bytes.
const MAX_TEXT: usize = 500;

/// The facets, as questions and answers name them.
pub const FACETS: [&str; 6] = ["participant", "theme", "keyword", "publisher", "format", "license"];

/// What of the index failed.
pub type SearchError = TantivyError;

/// The index.
pub struct SearchIndex {
    index: Index,
    reader: IndexReader,
    writer: Mutex<IndexWriter>,
    fields: Fields,
}

impl std::fmt::Debug for SearchIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SearchIndex").field("datasets", &self.reader.searcher().num_docs()).finish()
    }
}

#[derive(Debug, Clone, Copy)]
struct Fields {
    /// Source and id: one document each.
    key: Field,
    /// Whose catalog it was read from.
    source: Field,
    /// The dataset's id alone.
    id: Field,
    /// By which reading of that catalog.
    reading: Field,
    title: Field,
    text: Field,
    facets: [Field; 6],
    document: Field,
}

impl Fields {
    fn schema() -> (Schema, Self) {
        let mut schema = Schema::builder();
        let mut exact = |name| schema.add_text_field(name, STRING | FAST);
        let facets = FACETS.map(&mut exact);
        let fields = Self {
            key: schema.add_text_field("key", STRING),
            source: schema.add_text_field("source", STRING | STORED),
            id: schema.add_text_field("id", STRING),
            reading: schema.add_u64_field("reading", tantivy::schema::INDEXED),
            title: schema.add_text_field("title", TEXT),
            text: schema.add_text_field("text", TEXT),
            facets,
            document: schema.add_bytes_field("document", STORED),
        };
        (schema.build(), fields)
    }
}

/// A dataset as it was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Whose catalog told of it.
    pub source: String,
    /// Who offers it.
    pub participant: String,
    /// The dataset, as the catalog has it.
    pub dataset: Json,
}

impl Known {
    fn id(&self) -> &str {
        self.dataset.get("@id").and_then(Json::as_str).unwrap_or_default()
    }

    fn key(&self) -> String {
        key(&self.source, &self.participant, self.id())
    }

    /// What it says of itself, that of its first distribution included.
    #[must_use]
    pub fn description(&self) -> Description {
        describe(&self.dataset)
    }
}

/// What a dataset of a DSP catalog says of itself, that of its first distribution included.
#[must_use]
pub fn describe(dataset: &Json) -> Description {
    let mut properties = dataset.as_object().cloned().unwrap_or_default();
    if let Some(distribution) = dataset.pointer("/distribution/0").and_then(Json::as_object) {
        let mut distribution = distribution.clone();
        // What it is called is not what the dataset is called.
        distribution.remove(DESCRIPTION);
        if let Some(title) = distribution.remove(TITLE) {
            distribution.insert(DISTRIBUTION_TITLE.to_owned(), title);
        }
        properties.extend(distribution);
    }
    Description::from_properties(&properties)
}

/// What is asked for. Everything that is said must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    /// Words; the last one may be the beginning of one.
    pub text: Option<String>,
    /// The dataset with this id.
    pub dataset: Option<String>,
    /// Who offers it.
    pub participant: Option<String>,
    /// A theme, an IRI.
    pub theme: Option<String>,
    /// A keyword.
    pub keyword: Option<String>,
    /// Who publishes it.
    pub publisher: Option<String>,
    /// A media type.
    pub format: Option<String>,
    /// A licence, an IRI.
    pub license: Option<String>,
    /// Hits to leave out.
    pub offset: usize,
    /// Most hits to show; 20 where nothing is said.
    pub limit: Option<usize>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// How many fit.
    pub total: usize,
    /// The best of them first.
    pub hits: Vec<Known>,
    /// For each facet its most frequent values among all that fit, and how many have them.
    pub facets: Map<String, Json>,
}

impl SearchIndex {
    /// Opens the index in `folder`, or begins one. Also tells whether it is a new one, which knows nothing: also where what
    /// was there cannot be used.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(folder: &Path) -> Result<(Self, bool), SearchError> {
        let (schema, fields) = Fields::schema();
        let fresh = |schema: Schema| {
            if folder.exists() {
                std::fs::remove_dir_all(folder)?;
            }
            std::fs::create_dir_all(folder)?;
            Index::create_in_dir(folder, schema)
        };
        let there = folder.join("meta.json").exists().then(|| Index::open_in_dir(folder));
        let (index, is_new) = match there {
            Some(Ok(index)) if index.schema() == schema => (index, false),
            Some(Ok(_)) | None => (fresh(schema)?, true),
            Some(Err(error)) => {
                tracing::warn!(%error, "the search index cannot be used; it is made anew");
                (fresh(schema)?, true)
            }
        };
        let writer = index.writer_with_num_threads(1, WRITER)?;
        let reader = index.reader_builder().reload_policy(tantivy::ReloadPolicy::Manual).try_into()?;
        Ok((Self { index, reader, writer: Mutex::new(writer), fields }, is_new))
    }

    /// Takes datasets of a catalog, by the `reading`th reading of it, in place of what was known of them. Nobody finds them
    /// before [`Self::finish`] or [`Self::publish`].
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn take(&self, known: &[Known], reading: u64) -> Result<(), SearchError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for one in known {
            writer.delete_term(Term::from_field_text(self.fields.key, &one.key()));
            writer.add_document(self.document(one, reading)?)?;
        }
        Ok(())
    }

    /// Forgets a dataset.
    pub fn forget(&self, source: &str, participant: &str, id: &str) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.delete_term(Term::from_field_text(self.fields.key, &key(source, participant, id)));
    }

    /// A catalog was read to its end: what the `reading`th reading did not find is there no more.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn finish(&self, source: &str, reading: u64) -> Result<(), SearchError> {
        {
            let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let of_source = exactly(Term::from_field_text(self.fields.source, source));
            let found = exactly(Term::from_field_u64(self.fields.reading, reading));
            let gone = BooleanQuery::new(vec![(Occur::Must, of_source), (Occur::MustNot, found)]);
            writer.delete_query(Box::new(gone))?;
        }
        self.publish()
    }

    /// Lets everybody find what was taken.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn publish(&self) -> Result<(), SearchError> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).commit()?;
        self.reader.reload()
    }

    /// How many datasets are known.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.reader.searcher().num_docs()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Answers a question.
    ///
    /// # Errors
    /// What is asked is too long or too far, or the index cannot be read.
    pub fn search(&self, question: &Question) -> Result<Found, SearchError> {
        let refuse = |reason: String| Err(TantivyError::InvalidArgument(reason));
        let limit = question.limit.unwrap_or(20);
        if limit == 0 || limit > MAX_HITS || question.offset > MAX_HITS {
            return refuse(format!("limit: 1 to {MAX_HITS}; offset: up to {MAX_HITS}"));
        }
        let wanted = [
            &question.participant,
            &question.theme,
            &question.keyword,
            &question.publisher,
            &question.format,
            &question.license,
        ];
        if wanted
            .into_iter()
            .chain([&question.text, &question.dataset])
            .flatten()
            .any(|text| text.len() > MAX_TEXT)
        {
            return refuse(format!("a value is longer than {MAX_TEXT} bytes"));
        }
        let mut all: Vec<Box<dyn Query>> = Vec::new();
        for ((wanted, field), name) in wanted.into_iter().zip(self.fields.facets).zip(FACETS) {
            if let Some(wanted) = wanted {
                all.push(exactly(Term::from_field_text(field, &folded(name, wanted))));
            }
        }
        all.extend(question.dataset.iter().map(|id| exactly(Term::from_field_text(self.fields.id, id))));
        all.extend(question.text.as_deref().map(|text| self.saying(text)).transpose()?.into_iter().flatten());
        let query: Box<dyn Query> = match all.is_empty() {
            true => Box::new(AllQuery),
            false => Box::new(BooleanQuery::new(all.into_iter().map(|one| (Occur::Must, one)).collect())),
        };
        let searcher = self.reader.searcher();
        let mut collectors = MultiCollector::new();
        let count = collectors.add_collector(Count);
        let top =
            collectors.add_collector(TopDocs::with_limit(limit).and_offset(question.offset).order_by_score());
        let facets = collectors
            .add_collector(AggregationCollector::from_aggs(aggregations()?, AggContextParams::default()));
        let mut fruit = searcher.search(&query, &collectors)?;
        let counted = serde_json::to_value(facets.extract(&mut fruit))?;
        let mut hits = Vec::new();
        for (_, address) in top.extract(&mut fruit) {
            let document: TantivyDocument = searcher.doc(address)?;
            let bytes = document.get_first(self.fields.document).and_then(|value| value.as_bytes());
            if let Some(known) = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()) {
                hits.push(known);
            }
        }
        let facets = FACETS.iter().map(|name| ((*name).to_owned(), values(&counted, name))).collect();
        Ok(Found { total: count.extract(&mut fruit), hits, facets })
    }

    /// One query for each word, each of which must be said; what is said in the title counts more.
    fn saying(&self, text: &str) -> Result<Vec<Box<dyn Query>>, SearchError> {
        let mut tokenizer = self.index.tokenizer_for_field(self.fields.text)?;
        let mut words = Vec::new();
        tokenizer.token_stream(text).process(&mut |token| words.push(token.text.clone()));
        let last = words.len().saturating_sub(1);
        let word = |(place, word): (usize, &String)| -> Box<dyn Query> {
            let here = |field| -> Box<dyn Query> {
                let term = Term::from_field_text(field, word);
                let whole = Box::new(TermQuery::new(term.clone(), IndexRecordOption::WithFreqs));
                if place < last || word.len() < 3 {
                    return whole;
                }
                let begun = Box::new(PhrasePrefixQuery::new(vec![term]));
                Box::new(BooleanQuery::new(vec![(Occur::Should, whole), (Occur::Should, begun)]))
            };
            let title = Box::new(BoostQuery::new(here(self.fields.title), 3.0));
            Box::new(BooleanQuery::new(vec![(Occur::Should, title), (Occur::Should, here(self.fields.text))]))
        };
        Ok(words.iter().enumerate().map(word).collect())
    }

    fn document(&self, known: &Known, reading: u64) -> Result<TantivyDocument, SearchError> {
        let described = known.description();
        let fields = &self.fields;
        let mut document = TantivyDocument::default();
        document.add_text(fields.key, known.key());
        document.add_text(fields.source, &known.source);
        document.add_text(fields.id, known.id());
        document.add_u64(fields.reading, reading);
        for title in described.title.all() {
            document.add_text(fields.title, title);
        }
        let publisher = described.publisher.iter().flat_map(Labelled::all);
        for text in described.description.all().chain([known.id()]).chain(publisher) {
            document.add_text(fields.text, text);
        }
        for keyword in described.keywords.iter().flat_map(Text::all) {
            document.add_text(fields.text, keyword);
        }
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let values = [
            vec![known.participant.clone()],
            described.themes.clone(),
            described.keywords.iter().flat_map(Text::all).map(str::to_owned).collect(),
            described.publisher.iter().filter_map(Labelled::plain).map(str::to_owned).collect(),
            one(&described.form.media_type),
            one(&described.form.license),
        ];
        for ((field, values), name) in fields.facets.into_iter().zip(values).zip(FACETS) {
            for value in values {
                document.add_text(field, folded(name, &value));
            }
        }
        document.add_bytes(fields.document, &serde_json::to_vec(known)?);
        Ok(document)
    }
}

fn key(source: &str, participant: &str, id: &str) -> String {
    format!("{source}\n{participant}\n{id}")
}

/// A value of a facet as it is compared: identifiers as they are, words without upper and lower case, each name of a form as
/// its media type.
fn folded(facet: &str, value: &str) -> String {
    match facet {
        "participant" | "theme" | "license" => value.to_owned(),
        "format" => media::meant(value).map_or_else(|| value.to_lowercase(), |known| known.name().to_owned()),
        _ => value.to_lowercase(),
    }
}

fn exactly(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn aggregations() -> Result<Aggregations, SearchError> {
    let terms =
        |name: &&str| ((*name).to_owned(), serde_json::json!({"terms": {"field": name, "size": MAX_VALUES}}));
    let all: Map<String, Json> = FACETS.iter().map(terms).collect();
    Ok(serde_json::from_value(Json::Object(all))?)
}

/// Values and counts of one facet.
fn values(counted: &Json, name: &str) -> Json {
    let buckets = counted.get(name).and_then(|facet| facet.get("buckets")).and_then(Json::as_array);
    let one =
        |bucket: &Json| serde_json::json!({"value": bucket.get("key"), "count": bucket.get("doc_count")});
    buckets.into_iter().flatten().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(source: &str, id: &str, title: &str, keyword: &str) -> Known {
        Known {
            source: source.to_owned(),
            participant: "did:web:A".to_owned(),
            dataset: json!({"@id": id, "http://purl.org/dc/terms/title": title,
                "http://www.w3.org/ns/dcat#keyword": [keyword],
                "distribution": [{"http://www.w3.org/ns/dcat#mediaType": "text/csv", "http://purl.org/dc/terms/title": "Rows"}]}),
        }
    }

    fn ids(index: &SearchIndex, question: &Question) -> Vec<String> {
        index.search(question).unwrap().hits.iter().map(|one| one.id().to_owned()).collect()
    }

    fn text(text: &str) -> Question {
        Question { text: Some(text.to_owned()), ..Question::default() }
    }

    #[test]
    fn datasets_are_found_by_words_and_facets_and_replaced_by_the_next_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("search");
        let (index, is_new) = SearchIndex::open(&path).unwrap();
        assert!(is_new && index.is_empty());
        let noise = known("s", "urn:noise", "Noise in Antwerp", "Sound");
        index.take(&[noise.clone(), known("s", "urn:air", "Air quality", "noise")], 1).unwrap();
        assert_eq!(index.len(), 0, "not before the reading is finished");
        index.finish("s", 1).unwrap();
        assert_eq!(ids(&index, &text("noise")), ["urn:noise", "urn:air"], "a title counts more");
        assert_eq!(ids(&index, &text("ANTWERP noi")), ["urn:noise"]);
        assert!(ids(&index, &text("nois antwerp")).is_empty(), "only the last word may be begun");
        assert_eq!(
            ids(&index, &Question { keyword: Some("SOUND".to_owned()), ..Question::default() }),
            ["urn:noise"]
        );
        let found =
            index.search(&Question { format: Some("CSV".to_owned()), ..Question::default() }).unwrap();
        assert_eq!((found.total, found.hits.len()), (2, 2));
        assert_eq!(
            found.facets["keyword"],
            json!([{"value": "noise", "count": 1}, {"value": "sound", "count": 1}])
        );
        assert_eq!(found.facets["participant"], json!([{"value": "did:web:A", "count": 2}]));
        assert_eq!(found.hits.iter().find(|one| one.id() == "urn:noise"), Some(&noise));

        index.take(&[known("other", "urn:noise", "Noise elsewhere", "x")], 1).unwrap();
        index.take(&[known("s", "urn:noise", "Silence", "x")], 2).unwrap();
        index.finish("s", 2).unwrap();
        assert_eq!(index.len(), 2, "the air is gone, the other catalog's is there");
        assert_eq!(ids(&index, &text("silence")), ["urn:noise"]);
        index.forget("s", "did:web:A", "urn:noise");
        index.publish().unwrap();
        assert!(ids(&index, &text("silence")).is_empty());
        drop(index);
        let (again, is_new) = SearchIndex::open(&path).unwrap();
        assert!(!is_new && again.len() == 1);
        drop(again);
        std::fs::write(path.join("meta.json"), "{").unwrap();
        let (again, is_new) = SearchIndex::open(&path).unwrap();
        assert!(is_new && again.is_empty(), "what cannot be used is made anew");
    }

    #[test]
    fn questions_have_bounds_and_odd_words_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let (index, _) = SearchIndex::open(folder.path()).unwrap();
        for odd in ["\"", "a AND (", "title:", "*", "\u{0}", ""] {
            assert!(index.search(&text(odd)).is_ok(), "{odd}");
        }
        assert!(index.search(&text(&"x".repeat(501))).is_err());
        for (limit, offset) in [(0, 0), (1001, 0), (1, 1001)] {
            let question = Question { limit: Some(limit), offset, ..Question::default() };
            assert!(index.search(&question).is_err(), "{limit} {offset}");
        }
    }
}
