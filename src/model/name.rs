//! Names that become NATS subjects, store keys and consumer names.

/// The longest name, in characters.
pub const MAX_NAME: usize = 63;

/// Driver names that are taken by the parts of Conveyor itself.
const RESERVED_DRIVERS: [&str; 4] = ["engine", "resources", "drivers", "events"];

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("{field} is empty: give it 1 to 63 characters of a-z 0-9 - _")]
    Empty {
        /// Which field.
        field: String,
    },
    /// More than 63 characters.
    #[error("{field} \"{value}\" has {length} characters: 63 is the most")]
    TooLong {
        /// Which field.
        field: String,
        /// The name as given.
        value: String,
        /// Its length in characters.
        length: usize,
    },
    /// A character outside the alphabet, or `-`/`_` in front.
    #[error(
        "{field} \"{value}\": character {character:?} at position {position} is refused: use 1 to 63 characters of a-z 0-9 - _, the first a letter or a digit"
    )]
    Character {
        /// Which field.
        field: String,
        /// The name as given.
        value: String,
        /// The first refused character.
        character: char,
        /// Where it stands, counted from 1.
        position: usize,
    },
    /// A driver name that Conveyor itself uses.
    #[error("{field} \"{value}\" is reserved: choose another name than engine, resources, drivers, events")]
    Reserved {
        /// Which field.
        field: String,
        /// The name as given.
        value: String,
    },
}

/// Checks a name: 1 to 63 characters of `a-z 0-9 - _`, the first a letter or a digit.
///
/// # Errors
/// The first thing that is wrong, with `field` as the name of the place.
pub fn check_name(field: &str, value: &str) -> Result<(), NameError> {
    if value.is_empty() {
        return Err(NameError::Empty { field: field.into() });
    }
    let refused = value.chars().enumerate().find(|&(index, character)| !allowed(index, character));
    if let Some((index, character)) = refused {
        return Err(NameError::Character {
            field: field.into(),
            value: shorten(value),
            character,
            position: index + 1,
        });
    }
    if value.len() > MAX_NAME {
        return Err(NameError::TooLong { field: field.into(), value: shorten(value), length: value.len() });
    }
    Ok(())
}

/// Checks a driver's name: as [`check_name`], and not one that Conveyor itself uses.
///
/// # Errors
/// The first thing that is wrong, with `field` as the name of the place.
pub fn check_driver_name(field: &str, value: &str) -> Result<(), NameError> {
    check_name(field, value)?;
    if RESERVED_DRIVERS.contains(&value) {
        return Err(NameError::Reserved { field: field.into(), value: value.into() });
    }
    Ok(())
}

fn allowed(index: usize, character: char) -> bool {
    match character {
        'a'..='z' | '0'..='9' => true,
        '-' | '_' => index > 0,
        _ => false,
    }
}

fn shorten(value: &str) -> String {
    value.chars().take(MAX_NAME + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_the_alphabet() {
        for good in ["a", "0", "a-b_c", &"x".repeat(63)] {
            assert_eq!(check_name("name", good), Ok(()), "{good}");
        }
        for (bad, character, position) in
            [("a.b", '.', 2), ("-a", '-', 1), ("App", 'A', 1), ("a b", ' ', 2), ("é", 'é', 1), ("a>", '>', 2)]
        {
            let error = check_name("name", bad);
            assert!(
                matches!(&error, Err(NameError::Character { character: c, position: p, .. }) if (*c, *p) == (character, position)),
                "{bad}: {error:?}"
            );
        }
        assert!(matches!(check_name("name", ""), Err(NameError::Empty { .. })));
        assert!(matches!(check_name("name", &"x".repeat(64)), Err(NameError::TooLong { length: 64, .. })));
        assert!(matches!(check_driver_name("driver", "engine"), Err(NameError::Reserved { .. })));
        assert_eq!(check_name("name", "engine"), Ok(()));
    }
}
