"""Sources for the formats in which people keep annotated pictures: tables, COCO, VOC, YOLO, WebDataset, Hugging Face."""
