use rusqlite::Connection;

use super::*;

/// Runs any statement.
struct Statements {
    committed: usize,
}

impl Work for Statements {
    type Job = &'static str;
    type Answer = usize;

    fn load(&mut self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn apply(&mut self, connection: &Connection, job: &'static str) -> rusqlite::Result<usize> {
        connection.execute_batch(job)?;
        Ok(self.committed)
    }

    fn finish(&mut self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn committed(&mut self) {
        self.committed += 1;
    }
}

fn settings(path: &Path) -> Settings<'_> {
    Settings {
        path,
        migrations: &["CREATE TABLE bytes (value BLOB)"],
        durability: Durability::Power,
        readers: 2,
        queue: 16,
        group: 8,
    }
}

async fn count(database: &Database<Statements>) -> i64 {
    let rows = |connection: &Connection| connection.query_row("SELECT count(*) FROM bytes", [], |row| row.get(0));
    database.readers().read(rows).await.unwrap()
}

/// SQLite's own bound on the size of the file stands for the full disk: the error and the way back are the same.
#[tokio::test]
async fn a_full_disk_fails_the_write_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let database = Database::open(&settings(&path), Statements { committed: 0 }).unwrap();
    database.write("PRAGMA max_page_count = 16").await.unwrap();
    let full = database.write("INSERT INTO bytes VALUES (zeroblob(1000000))").await;
    assert!(matches!(full, Err(Failure::Unavailable(_))), "{full:?}");
    assert_eq!(count(&database).await, 0);
    database.write("INSERT INTO bytes VALUES (zeroblob(10))").await.unwrap();
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn dropping_the_database_writes_what_is_queued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let database = Database::open(&settings(&path), Statements { committed: 0 }).unwrap();
    for _ in 0..10 {
        let (answer, _) = oneshot::channel();
        let request = Request { job: "INSERT INTO bytes VALUES (x'00')", answer };
        database.queue.as_ref().unwrap().send(request).await.unwrap();
    }
    drop(database);
    let database = Database::open(&settings(&path), Statements { committed: 0 }).unwrap();
    assert_eq!(count(&database).await, 10);
}

#[test]
fn a_newer_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let Err(error) = Database::open(&settings(&path), Statements { committed: 0 }) else { panic!("it was opened") };
    assert!(matches!(&error, Failure::Damaged(text) if text.contains("version 2")), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    std::fs::write(&path, [b'x'; 4096]).unwrap();
    let Err(error) = Database::open(&settings(&path), Statements { committed: 0 }) else { panic!("it was opened") };
    assert!(matches!(error, Failure::Damaged(_)), "{error}");
}
