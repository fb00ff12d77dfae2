"""The encoding of a text file: detected only with evidence; else shown in each that fits."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from bulk_reset.core.errors import SheetError
from bulk_reset.core.option_names import OptionStyle, name_options_as
from bulk_reset.sheets.text_files.encoding import find_encoding

CHINESE: Final = (
    *("磁盘已满", "数据库磁盘已满", "支付服务延迟升高", "网络中断", "主库宕机", "接口超时"),
    *("影响华东区用户", "缓存雪崩导致数据库压力过大\uff0c回滚版本", "值班同学已处理 😀"),
)
OTHERS: Final[dict[str, tuple[str, ...]]] = {
    "cp1252": (
        *("INTERRUPÇÃO", "AÇÕES", "für", "É", "Störung: Größe überschritten", "ÄÖÜß", "ØÆÅ"),
        *("Panne à réparer très bientôt été", "CONEXÃO NÃO DISPONÍVEL", "ÉÉÉÉ ÀÀÀÀ", "señal"),
    ),
    "euc_kr": (
        *(
            "장애",
            "디스크 용량 부족",
            "데이터베이스 연결 시간 초과 오류",
            "긴급 점검",
            "메모리 누수",
        ),
        *("결제 서비스 장애로 인해 주문 처리가 지연되었습니다", "로그인 실패", "장애 복구 완료"),
    ),
    "euc_jp": (
        *("障害", "認証失敗", "原因調査中", "通信断", "データベースの接続がタイムアウトしました"),
        "接続数の上限に到達、再起動を実施し復旧、原因は調査中",
    ),
    "shift_jis": ("障害", "本番環境", "ディスク容量不足", "監視通知"),
    "big5": ("磁碟已滿", "高負載", "系統異常", "資料庫連線逾時故障", "使用者無法登入系統"),
    "cp1251": ("Ошибка", "Диск на сервере переполнен", "Сбой сети"),
    "koi8_r": ("Ошибка", "Восстановлено"),
    "cp1250": ("Błąd połączenia", "PRZEPEŁNIONY"),
    "cp850": ("INTERRUPÇÃO", "Störung"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.csv"


def write(path: Path, title: str, encoding: str, times: int = 1) -> Path:
    path.write_bytes(
        ("id,title\n" + f"69da451ef77b1b51f40e83ee,{title}\n" * times).encode(encoding)
    )
    return path


@pytest.mark.parametrize("title", CHINESE)
def test_chinese_is_detected(path: Path, title: str) -> None:
    """Three common hanzi are enough, if few others are among them."""
    assert find_encoding(write(path, title, "gb18030"), "x.csv") == "gb18030"
    assert find_encoding(write(path, title, "utf-8"), "x.csv") == "utf-8"


@pytest.mark.parametrize(
    ("encoding", "title"), [(one, title) for one, titles in OTHERS.items() for title in titles]
)
@pytest.mark.parametrize("times", [1, 500])
def test_text_in_another_encoding_is_not_guessed(
    path: Path, encoding: str, title: str, times: int
) -> None:
    """The error shows the text as it is meant; repeated rows are no more evidence."""
    with pytest.raises(SheetError) as caught:
        find_encoding(write(path, title, encoding, times), "x.csv")
    shown = f"encoding={encoding!r} shows {title[:30]!r}"
    alike = f"encoding='cp1252' shows {title[:30]!r}"

    assert shown in str(caught.value) or (encoding == "cp1250" and alike in str(caught.value))
    assert find_encoding(write(path, title, "utf-8", times), "x.csv") == "utf-8"


def test_error_shows_the_first_cell_in_each_encoding_that_fits(path: Path) -> None:
    """The user sees which one is right, and copies the option."""
    with name_options_as(OptionStyle.COMMAND_LINE), pytest.raises(SheetError) as caught:
        find_encoding(write(path, "INTERRUPÇÃO", "cp1252"), "x.csv")

    assert str(caught.value) == (
        "x.csv: not UTF-8 (byte 42 is invalid), and its encoding is uncertain. Use the one that "
        "shows the text correctly: --encoding cp1252 shows 'INTERRUPÇÃO', "
        "--encoding gb18030 shows 'INTERRUP敲O', --encoding shift_jis shows 'INTERRUPﾇﾃO', "
        "--encoding euc_jp shows 'INTERRUP巴O', --encoding big5 shows 'INTERRUPЫO', "
        "--encoding euc_kr shows 'INTERRUP플O', --encoding cp1251 shows 'INTERRUP\u0417\u0413O', "
        "--encoding koi8_r shows 'INTERRUP\u0433цO', --encoding cp1250 shows 'INTERRUPÇĂO', "
        "--encoding cp850 shows 'INTERRUPÃ├O'. Or save the file as UTF-8."
    )


def test_chinese_that_is_valid_utf_8_is_not_taken_for_it(path: Path) -> None:
    """The bytes of ``系统`` in GB18030 are Greek letters in UTF-8."""
    with pytest.raises(SheetError) as caught:
        find_encoding(write(path, "系统", "gb18030"), "x.csv")

    assert str(caught.value).startswith(
        "x.csv: valid UTF-8, but probably not meant as such, and its encoding is uncertain. Use "
        "the one that shows the text correctly: encoding='utf-8' shows 'ϵͳ', "
    )
    assert "encoding='gb18030' shows '系统'" in str(caught.value)


@pytest.mark.parametrize("title", ["25 °C", "a·b·c", "© ± ÷", "Ελλάδα διακοπή", "Отказ диска"])
def test_utf_8_of_other_alphabets_is_detected(path: Path, title: str) -> None:
    """Signs and letters of two bytes are no Chinese."""
    assert find_encoding(write(path, title, "utf-8"), "x.csv") == "utf-8"
