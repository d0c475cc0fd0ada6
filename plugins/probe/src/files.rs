//! Files, through the standard library; links through WASI itself, which the standard library hides.

use std::fs;
use std::io::{self, Write as _};

use serde_json::{Value, json};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn told(error: io::Error) -> String {
    error.to_string()
}

pub fn read(path: &str) -> Result<Value, String> {
    fs::read_to_string(path).map(Value::from).map_err(told)
}

pub fn write(path: &str, text: &str) -> Result<Value, String> {
    fs::write(path, text).map(|()| Value::Null).map_err(told)
}

pub fn fill(path: &str, mebibytes: usize) -> Result<Value, String> {
    let block = vec![b'x'; 1 << 20];
    let mut file = fs::File::create(path).map_err(told)?;
    for _ in 0..mebibytes {
        file.write_all(&block).map_err(told)?;
    }
    Ok(Value::Null)
}

pub fn list(path: &str) -> Result<Value, String> {
    let entries = fs::read_dir(path).map_err(told)?;
    let names: Result<Vec<String>, io::Error> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    let mut names = names.map_err(told)?;
    names.sort();
    Ok(json!(names))
}

pub fn remove(path: &str) -> Result<Value, String> {
    fs::remove_file(path).map(|()| Value::Null).map_err(told)
}

pub fn link(path: &str, target: &str) -> Result<Value, String> {
    for (folder, name) in get_directories() {
        if let Some(rest) = path.strip_prefix(&format!("{name}/")) {
            return folder.symlink_at(target, rest).map(|()| Value::Null).map_err(|code| code.to_string());
        }
    }
    Err("there is no such folder".to_owned())
}

pub fn nest(path: &str, levels: usize) -> Result<Value, String> {
    let folder = get_directories().into_iter().find(|(_, name)| name == path);
    let (mut folder, _) = folder.ok_or("there is no such folder")?;
    for _ in 0..levels {
        folder.create_directory_at("x").map_err(|code| code.to_string())?;
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        folder =
            folder.open_at(PathFlags::empty(), "x", OpenFlags::DIRECTORY, flags).map_err(|code| code.to_string())?;
    }
    Ok(Value::Null)
}
