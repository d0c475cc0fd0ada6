//! A page: its blocks, its headings and its links.

/// What stands between two fences.
#[derive(Debug)]
pub struct Block {
    pub language: String,
    /// Behind the language: what is done with the block, or a file, or a type.
    pub words: Vec<String>,
    pub text: String,
    /// Where its fence stands, counted from 1.
    pub line: usize,
    /// What stands before it, back to the block before.
    pub before: String,
}

impl Block {
    pub fn says(&self, word: &str) -> bool {
        self.words.iter().any(|said| said == word)
    }

    /// The file that it is.
    pub fn file(&self) -> Option<&str> {
        self.words.iter().map(String::as_str).find(|word| word.contains(['.', '/']))
    }
}

/// The blocks of a page, and its text without them.
pub fn read(page: &str, text: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut open: Option<Block> = None;
    let mut before = String::new();
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(head)) => {
                let mut words = head.split_whitespace().map(str::to_owned);
                let language =
                    words.next().unwrap_or_else(|| panic!("{page}:{}: a block without a language", number + 1));
                let (words, before) = (words.collect(), std::mem::take(&mut before));
                open = Some(Block { language, words, text: String::new(), line: number + 1, before });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([line, "\n"]),
            (None, None) => {
                before.extend([line, "\n"]);
                prose.extend([line, "\n"]);
            }
        }
    }
    assert!(open.is_none(), "{page}: a block is not closed");
    (blocks, prose)
}

/// Where the links of a text lead, code apart.
pub fn links(prose: &str) -> Vec<&str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchors that the headings of a text make, as GitHub makes them.
pub fn anchors(prose: &str) -> Vec<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

/// Whether a line of `said` has the parts of `wanted` in it that `…` stands between, in their order.
pub fn found(wanted: &str, said: &str) -> bool {
    let has = |line: &str| {
        let mut rest = line;
        wanted.split('…').map(str::trim).all(|part| {
            let place = rest.find(part);
            rest = place.map_or("", |place| &rest[place + part.len()..]);
            place.is_some()
        })
    };
    said.lines().any(has)
}

#[test]
fn a_line_is_found_with_its_gaps() {
    let said = "run 1 began\nrun 1 succeeded after 3ms\n";
    assert!(found("run … succeeded after …", said) && found("run 1 began", said));
    assert!(!found("run … failed", said) && !found("succeeded … run", said));
    let (blocks, prose) = read("page", "# A b, c\n[x](y.md#z)\n```bash stays\nls\n```\n");
    assert_eq!((blocks[0].text.as_str(), blocks[0].line, blocks[0].says("stays")), ("ls\n", 3, true));
    assert_eq!((links(&prose), anchors(&prose)), (vec!["y.md#z"], vec!["a-b-c".to_owned()]));
}
