//! Finds agents by what they are for: BM25 over names, descriptions, instructions and tools.

use std::sync::Arc;

use bm25::{Document, SearchEngineBuilder, Tokenizer};
use rockbot_agent::{Agent, scope};

/// The agents that fit `query` best, the best first; none that has nothing in common with it.
pub(crate) fn agents(agents: &[Arc<Agent>], query: &str, most: usize) -> Vec<Arc<Agent>> {
    let documents: Vec<_> = agents
        .iter()
        .enumerate()
        .map(|(position, agent)| Document::new(position, text(agent)))
        .collect();
    let engine = SearchEngineBuilder::<usize, u32, Words>::with_tokenizer_and_documents(Words, documents).build();
    let found = engine.search(query, most);
    found
        .into_iter()
        .filter_map(|found| agents.get(found.document.id).cloned())
        .collect()
}

/// All that says what an agent is for.
fn text(agent: &Agent) -> String {
    let config = agent.config();
    let mut text = [&*config.name, &config.description, &config.instructions].join("\n");
    let tools = agent.tools().get_tools();
    for tool in tools.iter().filter(|tool| tool.scope.admits(scope::ALL)) {
        text.extend(["\n", &tool.name, "\n", &tool.description]);
    }
    text
}

/// Words without case and without the ending of a plural: `Chairs` is `chair`.
struct Words;

impl Tokenizer for Words {
    fn tokenize(&self, text: &str) -> Vec<String> {
        let words = text.split(|letter: char| !letter.is_alphanumeric());
        words
            .map(str::to_lowercase)
            .filter(|word| word.chars().count() > 1 && !STOP_WORDS.contains(&&**word))
            .map(|word| match word.strip_suffix('s') {
                Some(stem) if stem.len() > 2 && !stem.ends_with('s') => stem.to_owned(),
                _ => word,
            })
            .collect()
    }
}

/// Words of questions that say nothing about what is looked for.
const STOP_WORDS: [&str; 41] = [
    "an", "and", "any", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "has", "have", "how", "in",
    "is", "it", "its", "me", "my", "of", "on", "or", "our", "that", "the", "there", "this", "to", "us", "we", "what",
    "when", "where", "which", "who", "with", "you", "your",
];
